#include "sentry/fs/overlay/overlay.h"

#include <sys/stat.h>

#include <algorithm>
#include <string>

#include "sentry/fs/overlay/overlay_inode.h"

namespace sandbox {

namespace {
constexpr uint64_t kOverlayMagic = 0x794c7630;  // OVERLAYFS_SUPER_MAGIC
}

OverlayFs::OverlayFs(RefPtr<FileSystem> upper, std::vector<RefPtr<FileSystem>> lowers)
    : upper_(std::move(upper)),
      upper_root_(upper_->root()),
      lowers_(std::move(lowers)),
      exclusive_(std::all_of(lowers_.begin(), lowers_.end(), [](const auto& fs) { return fs->exclusive(); })) {}

Result<RefPtr<FileSystem>> MakeOverlay(Context& context, RefPtr<FileSystem> upper,
                                       std::vector<RefPtr<FileSystem>> lowers) {
  if (lowers.empty()) return Err(EINVAL);
  auto fs = MakeRef<OverlayFs>(std::move(upper), std::move(lowers));
  std::vector<InodeRef> roots;
  for (const auto& lower : fs->lowers_) {
    InodeRef root = lower->root();
    if (!TRY(root->GetAttr(context)).IsDir()) return Err(ENOTDIR);
    roots.push_back(std::move(root));
  }
  fs->root_ = TRY(fs->Intern(context, std::move(roots)));
  return RefPtr<FileSystem>(std::move(fs));
}

InodeRef OverlayFs::root() { return root_; }

Result<FsStat> OverlayFs::StatFs(Context& context) {
  FsStat stat = TRY(upper_->StatFs(context));
  stat.type = kOverlayMagic;
  return stat;
}

Result<OverlayInodeRef> OverlayFs::Intern(Context& context, std::vector<InodeRef> lowers) {
  const Inode* const key = lowers.front().get();
  {
    MutexLock lock(mu_);
    auto it = by_lower_.find(key);
    if (it != by_lower_.end()) {
      if (OverlayInodeRef found = it->second.inode.lock()) return found;
    }
  }
  const Attr attr = TRY(lowers.front()->GetAttr(context));
  auto made = MakeRef<OverlayInode>(*this, std::move(lowers), nullptr, attr.mode, attr.ino);
  OverlayInodeRef found;  // released after the lock
  MutexLock lock(mu_);
  Slot& slot = by_lower_[key];
  found = slot.inode.lock();
  if (found != nullptr) return found;  // another lookup was faster, under another name
  slot.inode = made;
  return made;
}

void OverlayFs::Pin(const OverlayInodeRef& inode, const InodeRef& lower) {
  MutexLock lock(mu_);
  Slot& slot = by_lower_[lower.get()];
  slot.inode = inode;
  slot.pinned = inode;
}

void OverlayFs::Unpin(const InodeRef& lower) {
  OverlayInodeRef dropped;  // may die, and then asks for the lock itself
  MutexLock lock(mu_);
  auto it = by_lower_.find(lower.get());
  if (it != by_lower_.end()) dropped = std::move(it->second.pinned);
}

void OverlayFs::Expired(const Inode* lower) {
  MutexLock lock(mu_);
  auto it = by_lower_.find(lower);
  if (it != by_lower_.end() && it->second.inode.expired()) by_lower_.erase(it);
}

Result<InodeRef> OverlayFs::MakeUpper(Context& context, const CreateArgs& args) {
  if (S_ISREG(args.mode)) return upper_root_->CreateUnlinked(context, args);
  // Other types need a name to be made under; they lose it at once and live by reference.
  MutexLock lock(stage_mu_);
  const std::string name = std::to_string(next_stage_++);
  InodeRef made = TRY(upper_root_->Create(context, name, args));
  if (S_ISDIR(args.mode))
    TRY(upper_root_->Rmdir(context, name, made));
  else
    TRY(upper_root_->Unlink(context, name, made));
  return made;
}

}  // namespace sandbox
