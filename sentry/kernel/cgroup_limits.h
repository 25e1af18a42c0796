// What a container is limited to, as its tasks see it (cgroup.h).
#pragma once

#include <cstdint>
#include <optional>

namespace sandbox {

// 0 = no limit.
struct CgroupLimits {
  uint64_t memory_bytes = 0;
  uint64_t memory_reservation_bytes = 0;
  std::optional<uint64_t> swap_bytes;  // without memory
  int32_t pids = 0;                    // tasks
  uint64_t cpu_quota_us = 0, cpu_period_us = 100000;
  uint64_t cpu_shares = 1024;
};

}  // namespace sandbox
