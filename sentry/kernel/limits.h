// Resource limits of a thread group (getrlimit(2)). A leaf lock: read from anywhere.
#pragma once

#include <sys/resource.h>

#include <array>
#include <cstdint>

#include "base/mutex.h"

namespace sandbox {

struct Limit {
  uint64_t soft = RLIM_INFINITY;
  uint64_t hard = RLIM_INFINITY;
};
inline constexpr int kLimitCount = RLIM_NLIMITS;
using LimitSet = std::array<Limit, kLimitCount>;

// Linux's defaults for init (INIT_RLIMITS), with the usual descriptor limits.
LimitSet DefaultLimits();

class Limits {
 public:
  explicit Limits(const LimitSet& limits) : limits_(limits) {}
  Limit Get(int resource) const {
    MutexLock lock(mu_);
    return limits_[resource];
  }
  uint64_t soft(int resource) const { return Get(resource).soft; }
  void Set(int resource, Limit limit) {
    MutexLock lock(mu_);
    limits_[resource] = limit;
  }
  LimitSet All() const {
    MutexLock lock(mu_);
    return limits_;
  }

 private:
  mutable Mutex mu_{LockRank::kLeaf};
  LimitSet limits_ GUARDED_BY(mu_);
};

}  // namespace sandbox
