// Files of version 2.
#include <algorithm>
#include <array>

#include "base/log.h"
#include "sentry/fs/cgroup/facts.h"
#include "sentry/fs/cgroup/values.h"

namespace sandbox::cgroupfs {
namespace {

std::string Maximum(uint64_t limit) { return limit == 0 ? "max\n" : Line(limit); }

template <const char* kText>
std::string Fixed(const Cgroup&) {
  return kText;
}
constexpr char kEmpty[] = "\n", kNothing[] = "", kMax[] = "max\n", kZero[] = "0\n", kDomain[] = "domain\n",
               kControllers[] = "cpuset cpu io memory pids\n", kWeight[] = "default 100\n",
               kStat[] = "nr_descendants 0\nnr_dying_descendants 0\n";

// Version 1's 2…262144 as 1…10000, as runtimes convert it.
std::string CpuWeight(const Cgroup& group) {
  return Line(1 + (std::clamp<uint64_t>(group.limits().cpu_shares, 2, 262144) - 2) * 9999 / 262142);
}

std::string CpuMax(const Cgroup& group) {
  const CgroupLimits limits = group.limits();
  const std::string quota = limits.cpu_quota_us == 0 ? "max" : std::to_string(limits.cpu_quota_us);
  return quota + " " + Line(limits.cpu_period_us);
}

std::string CpuStat(const Cgroup& group) {
  if (group.unified()) {
    if (const auto text = group.HostFile("cpu.stat")) return *text;
  }
  const CpuUse use = CpuUseOf(group);
  return StrPrintf(
      "usage_usec %lu\nuser_usec %lu\nsystem_usec %lu\nnr_periods %lu\nnr_throttled %lu\nthrottled_usec %lu\n",
      use.total_us, use.user_us, use.system_us, use.periods, use.throttled_periods, use.throttled_us);
}

std::string Events(const Cgroup& group) { return StrPrintf("populated 1\nfrozen %d\n", group.frozen()); }

std::string Frozen(const Cgroup& group) { return Line(group.frozen()); }

std::string MemoryStat(const Cgroup& group) {
  if (group.unified()) {
    if (const auto text = group.HostFile("memory.stat")) return *text;
  }
  // What both versions count, by version 2's name.
  static constexpr std::pair<const char*, const char*> kNames[] = {{"anon", "rss"},
                                                                   {"file", "cache"},
                                                                   {"file_mapped", "mapped_file"},
                                                                   {"file_dirty", "dirty"},
                                                                   {"file_writeback", "writeback"},
                                                                   {"shmem", "shmem"},
                                                                   {"inactive_anon", "inactive_anon"},
                                                                   {"active_anon", "active_anon"},
                                                                   {"inactive_file", "inactive_file"},
                                                                   {"active_file", "active_file"},
                                                                   {"unevictable", "unevictable"},
                                                                   {"pgfault", "pgfault"},
                                                                   {"pgmajfault", "pgmajfault"}};
  std::string text;
  for (const auto& [name, old] : kNames)
    text += StrPrintf("%s %lu\n", name, group.HostNumber("memory.stat", old).value_or(0));
  return text;
}

std::string MemoryEvents(const Cgroup& group) {
  const uint64_t kills = OomKills(group);
  return StrPrintf("low 0\nhigh 0\nmax %lu\noom %lu\noom_kill %lu\noom_group_kill 0\n", MemoryFailures(group), kills,
                   kills);
}

std::string SwapMax(const Cgroup& group) {
  const auto swap = group.limits().swap_bytes;
  return swap ? Line(*swap) : "max\n";
}

std::string IoStat(const Cgroup& group) { return group.unified() ? group.HostFile("io.stat").value_or("") : ""; }

constexpr std::array<ValueFile, 36> kFiles = {{
    {"cgroup.controllers", &Fixed<kControllers>},
    {"cgroup.events", &Events},
    {"cgroup.freeze", &Frozen},
    {"cgroup.max.depth", &Fixed<kMax>},
    {"cgroup.max.descendants", &Fixed<kMax>},
    {"cgroup.stat", &Fixed<kStat>},
    {"cgroup.subtree_control", &Fixed<kEmpty>},
    {"cgroup.type", &Fixed<kDomain>},
    {"cpu.max", &CpuMax},
    {"cpu.max.burst", &Fixed<kZero>},
    {"cpu.stat", &CpuStat},
    {"cpu.weight", &CpuWeight},
    {"cpu.weight.nice", &Fixed<kZero>},
    {"cpuset.cpus", [](const Cgroup& group) { return CpusOf(group) + "\n"; }},
    {"cpuset.cpus.effective", [](const Cgroup& group) { return CpusOf(group) + "\n"; }},
    {"cpuset.mems", [](const Cgroup& group) { return MemsOf(group) + "\n"; }},
    {"cpuset.mems.effective", [](const Cgroup& group) { return MemsOf(group) + "\n"; }},
    {"io.max", &Fixed<kNothing>},
    {"io.stat", &IoStat},
    {"io.weight", &Fixed<kWeight>},
    {"memory.current", [](const Cgroup& group) { return Line(MemoryUsed(group)); }},
    {"memory.events", &MemoryEvents},
    {"memory.events.local", &MemoryEvents},
    {"memory.high", &Fixed<kMax>},
    {"memory.low", [](const Cgroup& group) { return Line(group.limits().memory_reservation_bytes); }},
    {"memory.max", [](const Cgroup& group) { return Maximum(group.limits().memory_bytes); }},
    {"memory.min", &Fixed<kZero>},
    {"memory.oom.group", &Fixed<kZero>},
    {"memory.peak", [](const Cgroup& group) { return Line(MemoryPeak(group)); }},
    {"memory.stat", &MemoryStat},
    {"memory.swap.current", [](const Cgroup& group) { return Line(SwapUsed(group)); }},
    {"memory.swap.max", &SwapMax},
    {"pids.current", [](const Cgroup& group) { return Line(static_cast<uint64_t>(group.task_count())); }},
    {"pids.events", [](const Cgroup& group) { return "max " + Line(group.refusals()); }},
    {"pids.max", [](const Cgroup& group) { return Maximum(static_cast<uint64_t>(group.limits().pids)); }},
    {"pids.peak", [](const Cgroup& group) { return Line(static_cast<uint64_t>(group.peak())); }},
}};

}  // namespace

std::span<const ValueFile> UnifiedFiles() { return kFiles; }

}  // namespace sandbox::cgroupfs
