// The dentry cache: which unused dentries stay alive (Linux: the dcache LRU). A clock over a bounded list: a hit sets
// a flag, and only adding an entry takes the lock.
#pragma once

#include <list>
#include <vector>

#include "base/mutex.h"
#include "sentry/vfs/dentry.h"

namespace sandbox {

class DentryCache {
 public:
  // The one cache of the process.
  static DentryCache& Get();

  static void Touch(Dentry& dentry) {
    if (!dentry.recently_used_.load(std::memory_order_relaxed))
      dentry.recently_used_.store(true, std::memory_order_relaxed);
  }
  void Insert(const DentryRef& dentry);
  void Remove(Dentry& dentry);
  // Drops what belongs to one file system (by st_dev), when its last mount goes.
  void DropDevice(uint64_t device);
  // Fewer are kept from now on.
  void SetCapacity(size_t capacity);

 private:
  void EvictTo(size_t size, size_t steps, std::vector<DentryRef>& victims) REQUIRES(mu_);

  Mutex mu_{LockRank::kLeaf};
  std::list<DentryRef> clock_ GUARDED_BY(mu_);
  size_t size_ GUARDED_BY(mu_) = 0;
  size_t capacity_ GUARDED_BY(mu_) = 32768;
};

}  // namespace sandbox
