#include "sentry/fs/tmpfs/directory.h"

#include <dirent.h>
#include <linux/fs.h>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/io.h"

namespace sandbox {
namespace {

constexpr uint64_t kEntrySize = 20;  // Linux: BOGO_DIRENT_SIZE

TmpfsInode& AsTmpfs(Inode& inode) { return static_cast<TmpfsInode&>(inode); }

class TmpfsDirectoryFile final : public FileDescription {
 public:
  using FileDescription::FileDescription;
  bool seekable() const override { return true; }
  Result<int64_t> Seek(Context& context, int64_t offset, int whence) override {
    if (whence != SEEK_END) return Err(EINVAL);
    return offset;
  }
  Result<void> Sync(Context&, bool) override { return {}; }
  Result<void> ReadDir(Context&, DirSink& sink, int64_t* position) override {
    static_cast<TmpfsDirectory&>(*path().dentry->inode()).ReadEntries(sink, path().dentry, position);
    return {};
  }
};

}  // namespace

void TmpfsDirectory::FillSize(Attr& attr) const { attr.size = (by_name_.size() + 2) * kEntrySize; }

bool TmpfsDirectory::IsEmpty() const {
  MutexLock lock(mu_);
  return entries_.empty();
}

void TmpfsDirectory::Insert(std::string_view name, InodeRef inode) {
  const int64_t position = next_position_++;
  const bool is_dir = AsTmpfs(*inode).mode_type() == S_IFDIR;
  auto it = entries_.emplace_hint(entries_.end(), position, Entry{std::string(name), std::move(inode)});
  by_name_.emplace(it->second.name, position);
  if (is_dir) ++attr_.nlink;
  TouchChange(true);
}

void TmpfsDirectory::Erase(std::string_view name) {
  auto it = by_name_.find(name);
  if (it == by_name_.end()) return;
  auto entry = entries_.find(it->second);
  if (AsTmpfs(*entry->second.inode).mode_type() == S_IFDIR) --attr_.nlink;
  by_name_.erase(it);  // before the entry, which owns the key
  entries_.erase(entry);
  TouchChange(true);
}

void TmpfsDirectory::Replace(std::string_view name, InodeRef inode) {
  auto it = by_name_.find(name);
  if (it == by_name_.end()) return;
  Entry& entry = entries_.find(it->second)->second;
  if (AsTmpfs(*entry.inode).mode_type() == S_IFDIR) --attr_.nlink;
  if (AsTmpfs(*inode).mode_type() == S_IFDIR) ++attr_.nlink;
  entry.inode = std::move(inode);
  TouchChange(true);
}

Result<InodeRef> TmpfsDirectory::Lookup(Context&, std::string_view name) {
  MutexLock lock(mu_);
  auto it = by_name_.find(name);
  if (it == by_name_.end()) return Err(ENOENT);
  return entries_.find(it->second)->second.inode;
}

Result<InodeRef> TmpfsDirectory::Create(Context&, std::string_view name, const CreateArgs& args) {
  InodeRef inode = TRY(MakeTmpfsInode(*fs(), usage_, args));
  MutexLock lock(mu_);
  if (by_name_.contains(name)) return Err(EEXIST);
  Insert(name, inode);
  return inode;
}

Result<void> TmpfsDirectory::Link(Context&, std::string_view name, const InodeRef& target) {
  TRY(AsTmpfs(*target).ChangeLinks(1));
  MutexLock lock(mu_);
  Insert(name, target);
  return {};
}

Result<void> TmpfsDirectory::Unlink(Context&, std::string_view name, const InodeRef& victim) {
  {
    MutexLock lock(mu_);
    Erase(name);
  }
  return AsTmpfs(*victim).ChangeLinks(-1);
}

Result<void> TmpfsDirectory::Rmdir(Context&, std::string_view name, const InodeRef& victim) {
  if (!static_cast<TmpfsDirectory&>(*victim).IsEmpty()) return Err(ENOTEMPTY);
  {
    MutexLock lock(mu_);
    Erase(name);
  }
  return AsTmpfs(*victim).ChangeLinks(-2);
}

Result<void> TmpfsDirectory::Exchange(std::string_view old_name, const InodeRef& moved, TmpfsDirectory& to,
                                      std::string_view new_name, const InodeRef& victim) {
  {
    MutexLock lock(mu_);
    Replace(old_name, victim);
  }
  {
    MutexLock lock(to.mu_);
    to.Replace(new_name, moved);
  }
  TRY(AsTmpfs(*moved).ChangeLinks(0));
  return AsTmpfs(*victim).ChangeLinks(0);
}

// The directory locks of the VFS make the steps one: nobody else looks into either directory
// meanwhile, except readers of entries, who may see both names or none, as on Linux.
Result<void> TmpfsDirectory::Rename(Context&, std::string_view old_name, const InodeRef& moved, Inode& new_dir,
                                    std::string_view new_name, const InodeRef& victim, unsigned flags) {
  auto& to = static_cast<TmpfsDirectory&>(new_dir);
  if (flags & RENAME_EXCHANGE) return Exchange(old_name, moved, to, new_name, victim);
  const bool victim_is_dir = victim != nullptr && AsTmpfs(*victim).mode_type() == S_IFDIR;
  if (victim_is_dir && !static_cast<TmpfsDirectory&>(*victim).IsEmpty()) return Err(ENOTEMPTY);
  InodeRef whiteout;
  if (flags & RENAME_WHITEOUT) {
    CreateArgs args;
    args.mode = S_IFCHR;  // device 0:0
    whiteout = TRY(MakeTmpfsInode(*fs(), usage_, args));
  }
  {
    MutexLock lock(mu_);
    if (whiteout != nullptr) {
      Replace(old_name, whiteout);
    } else {
      Erase(old_name);
    }
  }
  {
    MutexLock lock(to.mu_);
    if (victim != nullptr) {
      to.Replace(new_name, moved);
    } else {
      to.Insert(new_name, moved);
    }
  }
  if (victim != nullptr) TRY(AsTmpfs(*victim).ChangeLinks(victim_is_dir ? -2 : -1));
  return AsTmpfs(*moved).ChangeLinks(0);
}

Result<InodeRef> TmpfsDirectory::CreateUnlinked(Context&, const CreateArgs& args) {
  InodeRef inode = TRY(MakeTmpfsInode(*fs(), usage_, args));
  auto& made = AsTmpfs(*inode);
  TRY(made.ChangeLinks(-1));
  made.set_linkable(args.linkable);
  return inode;
}

Result<FileRef> TmpfsDirectory::Open(Context&, const Path& path, int flags) {
  return FileRef(MakeRef<TmpfsDirectoryFile>(path, flags));
}

void TmpfsDirectory::ReadEntries(DirSink& sink, const DentryRef& self, int64_t* position) {
  if (*position <= 0) {
    if (!sink.Emit(".", ino(), DT_DIR, 1)) return;
    *position = 1;
  }
  if (*position == 1) {
    const DentryRef parent = self->parent();
    const uint64_t parent_ino =
        parent != nullptr && parent->inode() != nullptr ? AsTmpfs(*parent->inode()).ino() : ino();
    if (!sink.Emit("..", parent_ino, DT_DIR, kFirstEntry)) return;
    *position = kFirstEntry;
  }
  MutexLock lock(mu_);
  auto it = *position == kFirstEntry ? entries_.end() : entries_.lower_bound(*position);
  while (it != entries_.begin()) {
    --it;
    const TmpfsInode& inode = AsTmpfs(*it->second.inode);
    const auto type = static_cast<uint8_t>(IFTODT(inode.mode_type()));
    if (!sink.Emit(it->second.name, inode.ino(), type, it->first)) return;
    *position = it->first;
  }
}

std::vector<InodeRef> TmpfsDirectory::TakeChildren() {
  std::vector<InodeRef> children;
  MutexLock lock(mu_);
  for (auto& [position, entry] : entries_) children.push_back(std::move(entry.inode));
  by_name_.clear();
  entries_.clear();
  return children;
}

}  // namespace sandbox
