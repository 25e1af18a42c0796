#include "sentry/fs/tmpfs/inode.h"

#include <sys/xattr.h>

#include "sentry/fs/tmpfs/directory.h"
#include "sentry/fs/tmpfs/regular.h"

namespace sandbox {
namespace {

constexpr size_t kMaxXattrBytes = 1 << 20;  // names and values of one inode: sentry memory is not for storing files

}  // namespace

TmpfsInode::TmpfsInode(FileSystem& fs, RefPtr<TmpfsUsage> usage, uint32_t mode, uint32_t uid, uint32_t gid)
    : Inode(fs), usage_(std::move(usage)), ino_(usage_->NextIno()), type_bits_(mode & S_IFMT) {
  set_type(mode);
  MutexLock lock(mu_);
  attr_.ino = ino_;
  attr_.mode = mode;
  attr_.nlink = S_ISDIR(mode) ? 2 : 1;
  attr_.uid = uid;
  attr_.gid = gid;
  attr_.atime = attr_.mtime = attr_.ctime = attr_.btime = FileTimeNow();
  attr_.has_btime = true;
}

TmpfsInode::~TmpfsInode() { usage_->ReleaseInode(); }

Result<Attr> TmpfsInode::GetAttr(Context&) {
  MutexLock lock(mu_);
  Attr attr = attr_;
  FillSize(attr);
  return attr;
}

void TmpfsInode::TouchChange(bool modified) {
  attr_.ctime = FileTimeNow();
  if (modified) attr_.mtime = attr_.ctime;
}

Result<void> TmpfsInode::SetAttr(Context&, const AttrChange& change) {
  MutexLock lock(mu_);
  if (change.size) {
    TRY(Resize(*change.size));
    DropCapabilities();
  }
  if (change.mode) attr_.mode = type_bits_ | (*change.mode & 07777);
  if (change.uid) attr_.uid = *change.uid;
  if (change.gid) attr_.gid = *change.gid;
  TouchChange(change.size.has_value());
  if (change.atime) attr_.atime = *change.atime;
  if (change.mtime) attr_.mtime = *change.mtime;
  return {};
}

Result<void> TmpfsInode::ChangeLinks(int delta) {
  MutexLock lock(mu_);
  if (delta > 0 && attr_.nlink == 0) {
    if (!linkable_) return Err(ENOENT);
  }
  attr_.nlink += static_cast<uint32_t>(delta);
  TouchChange(false);
  return {};
}

Result<std::string> TmpfsInode::GetXattr(Context&, std::string_view name) {
  MutexLock lock(mu_);
  auto it = xattrs_.find(name);
  if (it == xattrs_.end()) return Err(ENODATA);
  return it->second;
}

Result<void> TmpfsInode::SetXattr(Context&, std::string_view name, std::string_view value, int flags) {
  // POSIX ACLs would have to be enforced; answer as a file system mounted without them.
  if (name.starts_with("system.")) return Err(EOPNOTSUPP);
  MutexLock lock(mu_);
  auto it = xattrs_.find(name);
  if (it != xattrs_.end() && (flags & XATTR_CREATE)) return Err(EEXIST);
  if (it == xattrs_.end() && (flags & XATTR_REPLACE)) return Err(ENODATA);
  const size_t old = it != xattrs_.end() ? name.size() + it->second.size() : 0;
  const size_t bytes = xattr_bytes_ - old + name.size() + value.size();
  if (bytes > kMaxXattrBytes) return Err(ENOSPC);
  xattr_bytes_ = bytes;
  if (it != xattrs_.end()) {
    it->second = std::string(value);
  } else {
    xattrs_.emplace(name, value);
  }
  TouchChange(false);
  return {};
}

Result<std::vector<std::string>> TmpfsInode::ListXattr(Context&) {
  std::vector<std::string> names;
  MutexLock lock(mu_);
  for (const auto& [name, value] : xattrs_) names.push_back(name);
  return names;
}

Result<void> TmpfsInode::RemoveXattr(Context&, std::string_view name) {
  MutexLock lock(mu_);
  auto it = xattrs_.find(name);
  if (it == xattrs_.end()) return Err(name.starts_with("system.") ? EOPNOTSUPP : ENODATA);
  EraseXattr(it);
  TouchChange(false);
  return {};
}

void TmpfsInode::EraseXattr(std::map<std::string, std::string, std::less<>>::iterator it) {
  xattr_bytes_ -= it->first.size() + it->second.size();
  xattrs_.erase(it);
}

void TmpfsInode::DropCapabilities() {
  if (xattrs_.empty()) return;
  const auto it = xattrs_.find("security.capability");
  if (it != xattrs_.end()) EraseXattr(it);
}

Result<InodeRef> MakeTmpfsInode(FileSystem& fs, const RefPtr<TmpfsUsage>& usage, const CreateArgs& args) {
  TRY(usage->ChargeInode());  // given back by the inode's destructor
  switch (args.mode & S_IFMT) {
    case S_IFDIR:
      return InodeRef(MakeRef<TmpfsDirectory>(fs, usage, args.mode, args.uid, args.gid));
    case S_IFREG:
      return InodeRef(MakeRef<TmpfsRegular>(fs, usage, args.mode, args.uid, args.gid));
    case S_IFLNK:
      return InodeRef(MakeRef<TmpfsSymlink>(fs, usage, args));
    default:
      return InodeRef(MakeRef<TmpfsSpecial>(fs, usage, args));
  }
}

}  // namespace sandbox
