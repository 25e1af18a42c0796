// What a control group uses, from whichever files the host's groups have. Private to this folder.
#pragma once

#include <cstdint>
#include <string>

#include "sentry/kernel/cgroup.h"

namespace sandbox::cgroupfs {

uint64_t MemoryUsed(const Cgroup& group);
uint64_t MemoryPeak(const Cgroup& group);
uint64_t MemoryFailures(const Cgroup& group);  // how often the limit was hit
uint64_t OomKills(const Cgroup& group);
uint64_t SwapUsed(const Cgroup& group);

struct CpuUse {
  uint64_t total_us, user_us, system_us;
  uint64_t periods, throttled_periods, throttled_us;
};
CpuUse CpuUseOf(const Cgroup& group);

// By the host's numbers: "0-3".
std::string CpusOf(const Cgroup& group);
std::string MemsOf(const Cgroup& group);

inline std::string Line(uint64_t value) { return std::to_string(value) + "\n"; }

}  // namespace sandbox::cgroupfs
