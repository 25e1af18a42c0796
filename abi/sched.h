// linux/sched/types.h and linux/ioprio.h, which cannot be included beside the C library's sched.h or from C++.
#pragma once

#include <cstdint>

namespace sandbox::abi {

struct SchedAttr {  // struct sched_attr
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;  // SCHED_DEADLINE
  uint32_t util_min, util_max;
};

inline constexpr uint32_t kSchedAttrSizeVer0 = 48;
inline constexpr uint64_t kSchedFlagResetOnFork = 0x01;
inline constexpr uint64_t kSchedFlagAll = 0x7f;
inline constexpr int kSchedResetOnFork = 0x40000000;

inline constexpr int kIoprioWhoProcess = 1;
inline constexpr int kIoprioClassNone = 0, kIoprioClassRt = 1, kIoprioClassIdle = 3;
constexpr int IoprioClass(int ioprio) { return (ioprio >> 13) & 7; }
constexpr int IoprioLevel(int ioprio) { return ioprio & ((1 << 13) - 1); }

}  // namespace sandbox::abi
