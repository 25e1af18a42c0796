#include "sentry/fs/cgroup/facts.h"

namespace sandbox::cgroupfs {
namespace {

uint64_t Number(const Cgroup& group, const char* name, const char* key = "") {
  return group.HostNumber(name, key).value_or(0);
}

}  // namespace

uint64_t MemoryUsed(const Cgroup& group) {
  const Cgroup::Memory memory = group.memory(UINT64_MAX, UINT64_MAX);
  return memory.used + memory.cached;
}

uint64_t MemoryPeak(const Cgroup& group) {
  const auto peak = group.HostNumber(group.unified() ? "memory.peak" : "memory.max_usage_in_bytes");
  return peak ? *peak : MemoryUsed(group);
}

uint64_t MemoryFailures(const Cgroup& group) {
  return group.unified() ? Number(group, "memory.events", "max") : Number(group, "memory.failcnt");
}

uint64_t OomKills(const Cgroup& group) {
  return Number(group, group.unified() ? "memory.events" : "memory.oom_control", "oom_kill");
}

uint64_t SwapUsed(const Cgroup& group) {
  return group.unified() ? Number(group, "memory.swap.current") : Number(group, "memory.stat", "swap");
}

CpuUse CpuUseOf(const Cgroup& group) {
  CpuUse use = {};
  use.periods = Number(group, "cpu.stat", "nr_periods");
  use.throttled_periods = Number(group, "cpu.stat", "nr_throttled");
  if (group.unified()) {
    use.total_us = Number(group, "cpu.stat", "usage_usec");
    use.user_us = Number(group, "cpu.stat", "user_usec");
    use.system_us = Number(group, "cpu.stat", "system_usec");
    use.throttled_us = Number(group, "cpu.stat", "throttled_usec");
  } else {
    constexpr uint64_t kUsPerTick = 10'000;
    use.total_us = Number(group, "cpuacct.usage") / 1000;
    use.user_us = Number(group, "cpuacct.stat", "user") * kUsPerTick;
    use.system_us = Number(group, "cpuacct.stat", "system") * kUsPerTick;
    use.throttled_us = Number(group, "cpu.stat", "throttled_time") / 1000;
  }
  return use;
}

std::string CpusOf(const Cgroup& group) {
  const CpuSet cpus = group.cpus();
  const int end = static_cast<int>(cpus.size() * 64);
  const auto has = [&](int cpu) { return cpu < end && (cpus[static_cast<size_t>(cpu) / 64] >> (cpu % 64) & 1); };
  std::string list;
  for (int cpu = 0; cpu < end; ++cpu) {
    if (!has(cpu)) continue;
    const int first = cpu;
    while (has(cpu + 1)) ++cpu;
    if (!list.empty()) list += ',';
    list += std::to_string(first);
    if (cpu > first) list += "-" + std::to_string(cpu);
  }
  return list;
}

// The one node of this kernel (sentry/fs/sys).
std::string MemsOf(const Cgroup&) { return "0"; }

}  // namespace sandbox::cgroupfs
