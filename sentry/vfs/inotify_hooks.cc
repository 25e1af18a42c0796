#include "sentry/vfs/inotify_hooks.h"

#include <sys/inotify.h>

#include <algorithm>

#include "sentry/core/context.h"
#include "sentry/vfs/dentry.h"

namespace sandbox {

InotifyWatches::~InotifyWatches() {
  inotify_internal::watch_count.fetch_sub(static_cast<int>(watches_.size()), std::memory_order_relaxed);
}

void InotifyWatches::Add(RefPtr<InotifyWatch> watch) {
  MutexLock lock(mu_);
  watches_.push_back(std::move(watch));
  count_.fetch_add(1, std::memory_order_relaxed);
  inotify_internal::watch_count.fetch_add(1, std::memory_order_relaxed);
}

void InotifyWatches::Remove(const InotifyWatch& watch) {
  RefPtr<InotifyWatch> removed;  // destroyed after the lock
  MutexLock lock(mu_);
  auto it = std::find_if(watches_.begin(), watches_.end(), [&](const auto& w) { return w.get() == &watch; });
  if (it == watches_.end()) return;
  removed = std::move(*it);
  watches_.erase(it);
  count_.fetch_sub(1, std::memory_order_relaxed);
  inotify_internal::watch_count.fetch_sub(1, std::memory_order_relaxed);
}

RefPtr<InotifyWatch> InotifyWatches::Find(const void* owner) const {
  MutexLock lock(mu_);
  for (const auto& watch : watches_) {
    if (watch->owner() == owner) return watch;
  }
  return nullptr;
}

void InotifyWatches::Deliver(uint32_t mask, uint32_t cookie, std::string_view name) {
  if (empty()) return;
  std::vector<RefPtr<InotifyWatch>> watches;
  {
    MutexLock lock(mu_);
    watches = watches_;
  }
  for (const auto& watch : watches) watch->OnEvent(mask, cookie, name);
}

uint32_t NextInotifyCookie() {
  static std::atomic<uint32_t> next{0};
  return next.fetch_add(1, std::memory_order_relaxed) + 1;
}

namespace inotify_internal {

void ReportInode(const Inode& inode, uint32_t mask) {
  if (InotifyWatches* watches = inode.watches_or_null()) watches->Deliver(mask, 0, {});
}

void ReportChild(const Inode& directory, uint32_t mask, uint32_t cookie, std::string_view name) {
  if (InotifyWatches* watches = directory.watches_or_null()) watches->Deliver(mask, cookie, name);
}

void ReportPath(const Path& path, uint32_t mask) {
  if (path.empty() || path.dentry->IsNegative()) return;
  Inode& inode = *path.dentry->inode();
  if (inode.IsDir(KernelContext())) mask |= IN_ISDIR;
  if (DentryRef parent = path.dentry->parent(); parent != nullptr && parent->inode() != nullptr) {
    const uint32_t gone = path.dentry->IsDeleted() ? kInotifyChildUnlinked : 0;
    ReportChild(*parent->inode(), mask | gone, 0, path.dentry->name());
  }
  ReportInode(inode, mask);
}

void ReportInodeGone(const Inode& inode) {
  InotifyWatches* watches = inode.watches_or_null();
  if (watches == nullptr || watches->empty()) return;
  auto attr = const_cast<Inode&>(inode).GetAttr(KernelContext());
  const bool is_dir = attr.ok() && attr->IsDir();
  if (attr.ok() && attr->nlink > 0 && !is_dir) return;
  watches->Deliver(IN_DELETE_SELF | (is_dir ? IN_ISDIR : 0u), 0, {});
  watches->Deliver(IN_IGNORED, 0, {});
}

}  // namespace inotify_internal
}  // namespace sandbox
