// Directory operations of OverlayInode.

#include <fcntl.h>
#include <sys/stat.h>

#include "sentry/fs/overlay/overlay_inode.h"

namespace sandbox {

Result<InodeRef> OverlayInode::Lookup(Context& context, std::string_view name) {
  if (Type(context) != S_IFDIR) return Err(ENOTDIR);
  {
    MutexLock lock(dir_mu_);
    if (auto it = entries_.find(name); it != entries_.end()) {
      if (it->second.inode == nullptr) return Err(ENOENT);
      return InodeRef(it->second.inode);
    }
  }
  std::vector<InodeRef> found;
  for (const InodeRef& lower : lowers_) {
    auto child = lower->Lookup(context, name);
    if (child.Is(ENOENT) || child.Is(ENOTDIR)) continue;
    if (!child.ok()) return child.error();
    const bool is_dir = (*child)->IsDir(context);
    if (!found.empty() && !is_dir) break;  // a file below a directory is hidden by it, and hides what is below itself
    found.push_back(std::move(*child));
    if (!is_dir) break;
  }
  if (found.empty()) return Err(ENOENT);
  auto fs = TRY(overlay());
  return InodeRef(TRY(fs->Intern(context, std::move(found))));
}

void OverlayInode::WalkAhead(Context& context, std::string_view name, const WalkPlan& plan) {
  if (lowers_.size() != 1 || Overrides(name)) return;
  // A writer copies the file up, which reads the lower one.
  WalkPlan below = plan;
  if (plan.open_flags >= 0) below.open_flags = (plan.open_flags & ~O_ACCMODE) | O_RDONLY;
  lowers_.front()->WalkAhead(context, name, below);
}

void OverlayInode::SetEntry(std::string_view name, OverlayInodeRef inode, bool hides_lower) {
  OverlayInodeRef replaced;  // released after the lock
  MutexLock lock(dir_mu_);
  auto it = entries_.find(name);
  if (it == entries_.end()) {
    it = entries_.emplace(std::string(name), Entry{nullptr, hides_lower, 0}).first;
  } else {
    order_.erase(it->second.sequence);
    it->second.hides_lower |= hides_lower;
  }
  replaced = std::exchange(it->second.inode, std::move(inode));
  it->second.sequence = next_sequence_++;
  if (it->second.inode != nullptr) order_.emplace(it->second.sequence, &it->first);
}

// The name goes: forgotten when only this directory knew it, hidden when a lower layer has it.
void OverlayInode::ClearEntry(std::string_view name) {
  OverlayInodeRef dropped;
  MutexLock lock(dir_mu_);
  auto it = entries_.find(name);
  if (it == entries_.end()) {
    entries_.emplace(std::string(name), Entry{nullptr, true, next_sequence_++});
    return;
  }
  order_.erase(it->second.sequence);
  dropped = std::move(it->second.inode);
  it->second.inode = nullptr;
  if (!it->second.hides_lower) entries_.erase(it);
}

bool OverlayInode::Overrides(std::string_view name) const {
  MutexLock lock(dir_mu_);
  return entries_.find(name) != entries_.end();
}

Result<void> OverlayInode::Touch() {
  TRY(CopyUp());
  AttrChange change;
  change.mtime = FileTimeNow();
  return upper()->SetAttr(KernelContext(), change);
}

Result<OverlayInodeRef> OverlayInode::AddNew(Context& context, std::string_view name, const CreateArgs& args) {
  auto fs = TRY(overlay());
  InodeRef upper = TRY(fs->MakeUpper(context, args));
  auto inode = MakeRef<OverlayInode>(*fs, std::vector<InodeRef>{}, std::move(upper), args.mode, fs->NewIno());
  const bool is_dir = S_ISDIR(args.mode);
  inode->link_delta_.store(is_dir ? 2 : 1);
  TRY(Touch());
  SetEntry(name, inode, false);
  if (is_dir) AddLinks(1);
  return inode;
}

Result<InodeRef> OverlayInode::Create(Context& context, std::string_view name, const CreateArgs& args) {
  return InodeRef(TRY(AddNew(context, name, args)));
}

Result<InodeRef> OverlayInode::CreateUnlinked(Context& context, const CreateArgs& args) {
  auto fs = TRY(overlay());
  InodeRef upper = TRY(fs->MakeUpper(context, args));
  return InodeRef(MakeRef<OverlayInode>(*fs, std::vector<InodeRef>{}, std::move(upper), args.mode, fs->NewIno()));
}

Result<void> OverlayInode::Link(Context&, std::string_view name, const InodeRef& target) {
  const auto object = std::dynamic_pointer_cast<OverlayInode>(target);
  if (object == nullptr || object->device() != device()) return Err(EXDEV);
  TRY(Touch());
  object->AddLinks(1);
  SetEntry(name, object, false);
  return {};
}

Result<void> OverlayInode::RemoveName(Context& context, std::string_view name, const InodeRef& victim) {
  TRY(Touch());
  ClearEntry(name);
  const auto object = std::dynamic_pointer_cast<OverlayInode>(victim);
  if (object == nullptr) return {};
  const bool is_dir = object->IsDir(context);
  object->AddLinks(is_dir ? -2 : -1);
  if (is_dir) AddLinks(-1);
  // With no name left nothing can lead to its lower object any more.
  const auto attr = object->GetAttr(context);
  if (!object->lowers_.empty() && attr.ok() && (attr->nlink == 0 || is_dir)) {
    if (auto fs = overlay(); fs.ok()) (*fs)->Unpin(object->lowers_.front());
  }
  return {};
}

Result<void> OverlayInode::Unlink(Context& context, std::string_view name, const InodeRef& victim) {
  return RemoveName(context, name, victim);
}

Result<void> OverlayInode::Rmdir(Context& context, std::string_view name, const InodeRef& victim) {
  const auto object = std::dynamic_pointer_cast<OverlayInode>(victim);
  if (object == nullptr) return Err(ESTALE);
  if (TRY(object->HasEntries(context))) return Err(ENOTEMPTY);
  return RemoveName(context, name, victim);
}

Result<void> OverlayInode::Rename(Context& context, std::string_view old_name, const InodeRef& moved, Inode& new_dir,
                                  std::string_view new_name, const InodeRef& victim, unsigned flags) {
  auto* const target = dynamic_cast<OverlayInode*>(&new_dir);
  const auto object = std::dynamic_pointer_cast<OverlayInode>(moved);
  const auto replaced = std::dynamic_pointer_cast<OverlayInode>(victim);
  if (target == nullptr || object == nullptr || target->device() != device()) return Err(EXDEV);
  const bool object_dir = object->IsDir(context);
  if (flags & RENAME_EXCHANGE) {
    if (replaced == nullptr) return Err(ENOENT);
    TRY(Touch());
    TRY(target->Touch());
    const int shift = (replaced->IsDir(context) ? 1 : 0) - (object_dir ? 1 : 0);
    if (target != this && shift != 0) {
      AddLinks(shift);
      target->AddLinks(-shift);
    }
    SetEntry(old_name, replaced, !Overrides(old_name));
    target->SetEntry(new_name, object, !target->Overrides(new_name));
    return {};
  }
  if (replaced == object) return {};  // two names of one object: Linux does nothing
  if (replaced != nullptr && replaced->IsDir(context) && TRY(replaced->HasEntries(context))) return Err(ENOTEMPTY);
  TRY(Touch());
  TRY(target->Touch());
  // From here on nothing fails. A victim that only a lower layer knew must stay hidden after this
  // name goes, too.
  const bool hides = replaced != nullptr && !target->Overrides(new_name);
  if (replaced != nullptr) TRY(target->RemoveName(context, new_name, victim));
  ClearEntry(old_name);
  target->SetEntry(new_name, object, hides);
  if (object_dir && target != this) {
    AddLinks(-1);
    target->AddLinks(1);
  }
  if (flags & RENAME_WHITEOUT) {
    CreateArgs whiteout;
    whiteout.mode = S_IFCHR;
    TRY(AddNew(context, old_name, whiteout));
  }
  return {};
}

std::vector<OverlayInode::OwnEntry> OverlayInode::OwnEntries(uint64_t before, size_t count) const {
  std::vector<OwnEntry> out;
  MutexLock lock(dir_mu_);
  auto it = before == 0 ? order_.end() : order_.lower_bound(before);
  while (it != order_.begin() && out.size() < count) {
    --it;
    const OverlayInodeRef& inode = entries_.find(*it->second)->second.inode;
    const auto type = static_cast<uint8_t>(inode->Type(KernelContext()) >> 12);  // DT_*; known, so it asks nobody
    out.push_back({it->first, *it->second, inode->ino_, type});
  }
  return out;
}

namespace {

// Keeps what the overlay shows of a lower directory.
class Collector final : public DirSink {
 public:
  Collector(std::vector<OverlayInode::LowerEntry>& out, size_t count) : out_(out), count_(count) {}
  bool Emit(std::string_view name, uint64_t ino, uint8_t type, int64_t next) override {
    if (out_.size() >= count_) return false;
    if (name != "." && name != "..") out_.push_back({std::string(name), ino, type, next});
    return true;
  }

 private:
  std::vector<OverlayInode::LowerEntry>& out_;
  const size_t count_;
};

}  // namespace

Result<std::vector<OverlayInode::LowerEntry>> OverlayInode::LowerEntries(Context& context, FileDescription& lower_file,
                                                                         size_t layer, int64_t position, size_t count) {
  std::vector<LowerEntry> entries;
  for (;;) {
    Collector collector(entries, count);
    TRY(lower_file.ReadDir(context, collector, &position));
    if (entries.empty()) return entries;  // the end
    const int64_t last = entries.back().next;
    std::erase_if(entries, [&](const LowerEntry& entry) {
      if (Overrides(entry.name)) return true;
      for (size_t above = 0; above < layer; ++above) {
        if (lowers_[above]->Lookup(context, entry.name).ok()) return true;
      }
      return false;
    });
    if (!entries.empty()) return entries;
    position = last;  // all of this stretch is hidden
  }
}

Result<bool> OverlayInode::HasEntries(Context& context) {
  if (!OwnEntries(0, 1).empty()) return true;
  for (size_t layer = 0; layer < lowers_.size(); ++layer) {
    const FileRef file = TRY(lowers_[layer]->Open(KernelContext(), Path{}, O_RDONLY | O_DIRECTORY));
    if (!TRY(LowerEntries(context, *file, layer, 0, 64)).empty()) return true;
  }
  return false;
}

}  // namespace sandbox
