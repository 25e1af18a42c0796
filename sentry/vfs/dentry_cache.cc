#include "sentry/vfs/dentry_cache.h"

namespace sandbox {

DentryCache& DentryCache::Get() {
  // Never destroyed: threads may still run while the process exits.
  static DentryCache& cache = *new DentryCache;
  return cache;
}

void DentryCache::Insert(const DentryRef& dentry) {
  std::vector<DentryRef> victims;  // destroyed after the lock is released: a dentry's end takes other locks
  MutexLock lock(mu_);
  if (dentry->in_cache_) return;
  dentry->cache_position_ = clock_.insert(clock_.end(), dentry);
  dentry->in_cache_ = true;
  // Few steps a call: a cache full of directories in use must not make every insertion scan it.
  if (++size_ > capacity_) EvictTo(capacity_, 16, victims);
  // `victims` outlives `lock`: locals die in reverse order of declaration.
}

void DentryCache::Remove(Dentry& dentry) {
  DentryRef dropped;
  MutexLock lock(mu_);
  if (!dentry.in_cache_) return;
  dentry.in_cache_ = false;
  dropped = std::move(*dentry.cache_position_);
  clock_.erase(dentry.cache_position_);
  --size_;
}

void DentryCache::EvictTo(size_t size, size_t steps, std::vector<DentryRef>& victims) {
  // Entries that are in use elsewhere gain nothing by leaving; they are passed over like recently used ones.
  for (; size_ > size && steps > 0; --steps) {
    auto front = clock_.begin();
    Dentry& dentry = **front;
    const bool spared = dentry.recently_used_.exchange(false, std::memory_order_relaxed);
    if (spared || front->use_count() > 1) {
      clock_.splice(clock_.end(), clock_, front);
      continue;
    }
    dentry.in_cache_ = false;
    victims.push_back(std::move(*front));
    clock_.erase(front);
    --size_;
  }
}

void DentryCache::DropDevice(uint64_t device) {
  std::vector<DentryRef> victims;
  MutexLock lock(mu_);
  for (auto it = clock_.begin(); it != clock_.end();) {
    const DentryRef& dentry = *it;
    const DentryRef parent = dentry->IsNegative() ? dentry->parent() : nullptr;
    const InodeRef& inode = parent != nullptr ? parent->inode() : dentry->inode();
    if (inode == nullptr || inode->device() != device) {
      ++it;
      continue;
    }
    dentry->in_cache_ = false;
    victims.push_back(std::move(*it));
    it = clock_.erase(it);
    --size_;
  }
}

void DentryCache::SetCapacity(size_t capacity) {
  std::vector<DentryRef> victims;
  MutexLock lock(mu_);
  capacity_ = capacity;
  EvictTo(capacity, 2 * size_, victims);  // twice round the clock
}

}  // namespace sandbox
