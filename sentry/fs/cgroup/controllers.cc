// Files of version 1, by controller.
#include <algorithm>
#include <array>
#include <cstdint>

#include "base/log.h"
#include "sentry/fs/cgroup/facts.h"
#include "sentry/fs/cgroup/values.h"

namespace sandbox::cgroupfs {
namespace {

constexpr uint64_t kNoLimit = 0x7ffffffffffff000;  // Linux: PAGE_COUNTER_MAX in bytes

std::string Limit(uint64_t bytes) { return Line(bytes == 0 ? kNoLimit : bytes); }

template <const char* kText>
std::string Fixed(const Cgroup&) {
  return kText;
}
constexpr char kZero[] = "0\n", kOne[] = "1\n", kSixty[] = "60\n", kAllDevices[] = "a *:* rwm\n";

std::string SwapLimit(const Cgroup& group) {
  const CgroupLimits limits = group.limits();
  return Limit(limits.memory_bytes == 0 || !limits.swap_bytes ? 0 : limits.memory_bytes + *limits.swap_bytes);
}

std::string MemoryStat(const Cgroup& group) {
  if (!group.unified()) {
    if (const auto text = group.HostFile("memory.stat")) return *text;
  }
  const auto number = [&](const char* key) { return group.HostNumber("memory.stat", key).value_or(0); };
  std::string text = StrPrintf(
      "cache %lu\nrss %lu\nmapped_file %lu\nshmem %lu\nswap %lu\npgfault %lu\npgmajfault %lu\n", number("file"),
      number("anon"), number("file_mapped"), number("shmem"), SwapUsed(group), number("pgfault"), number("pgmajfault"));
  for (const char* name : {"inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"}) {
    text += StrPrintf("%s %lu\n", name, number(name));
  }
  const CgroupLimits limits = group.limits();
  return text + "hierarchical_memory_limit " + Limit(limits.memory_bytes) + "hierarchical_memsw_limit " +
         SwapLimit(group);
}

std::string CpuStat(const Cgroup& group) {
  const CpuUse use = CpuUseOf(group);
  return StrPrintf("nr_periods %lu\nnr_throttled %lu\nthrottled_time %lu\n", use.periods, use.throttled_periods,
                   use.throttled_us * 1000);
}

std::string CpuQuota(const Cgroup& group) {
  const uint64_t quota = group.limits().cpu_quota_us;
  return quota == 0 ? "-1\n" : Line(quota);
}

std::string CpuTicks(const Cgroup& group) {
  constexpr uint64_t kUsPerTick = 10'000;
  const CpuUse use = CpuUseOf(group);
  return StrPrintf("user %lu\nsystem %lu\n", use.user_us / kUsPerTick, use.system_us / kUsPerTick);
}

// Which of its processors it ran on is not kept apart.
std::string CpuUsagePerCpu(const Cgroup& group) {
  const int cpus = std::max(1, CountOf(group.cpus()));
  std::string text;
  for (int cpu = 0; cpu < cpus; ++cpu)
    text += std::to_string(CpuUseOf(group).total_us * 1000 / static_cast<uint64_t>(cpus)) + " ";
  return text + "\n";
}

std::string OomControl(const Cgroup& group) {
  return "oom_kill_disable 0\nunder_oom 0\noom_kill " + Line(OomKills(group));
}

std::string PidsMax(const Cgroup& group) {
  const int32_t most = group.limits().pids;
  return most == 0 ? "max\n" : Line(static_cast<uint64_t>(most));
}

template <const char* kName>
std::string BlockIo(const Cgroup& group) {
  return group.HostFile(kName).value_or("Total 0\n");
}
constexpr char kServiceBytes[] = "blkio.throttle.io_service_bytes", kServiced[] = "blkio.throttle.io_serviced";

constexpr std::array<ValueFile, 2> kHierarchy = {
    {{"cgroup.clone_children", &Fixed<kZero>}, {"notify_on_release", &Fixed<kZero>}}};

constexpr std::array<ValueFile, 11> kMemory = {{
    {"memory.failcnt", [](const Cgroup& group) { return Line(MemoryFailures(group)); }},
    {"memory.limit_in_bytes", [](const Cgroup& group) { return Limit(group.limits().memory_bytes); }},
    {"memory.max_usage_in_bytes", [](const Cgroup& group) { return Line(MemoryPeak(group)); }},
    {"memory.memsw.limit_in_bytes", &SwapLimit},
    {"memory.memsw.usage_in_bytes", [](const Cgroup& group) { return Line(MemoryUsed(group) + SwapUsed(group)); }},
    {"memory.oom_control", &OomControl},
    {"memory.soft_limit_in_bytes", [](const Cgroup& group) { return Limit(group.limits().memory_reservation_bytes); }},
    {"memory.stat", &MemoryStat},
    {"memory.swappiness", &Fixed<kSixty>},
    {"memory.usage_in_bytes", [](const Cgroup& group) { return Line(MemoryUsed(group)); }},
    {"memory.use_hierarchy", &Fixed<kOne>},
}};
constexpr std::array<ValueFile, 4> kCpu = {{
    {"cpu.cfs_period_us", [](const Cgroup& group) { return Line(group.limits().cpu_period_us); }},
    {"cpu.cfs_quota_us", &CpuQuota},
    {"cpu.shares", [](const Cgroup& group) { return Line(group.limits().cpu_shares); }},
    {"cpu.stat", &CpuStat},
}};
constexpr std::array<ValueFile, 5> kCpuacct = {{
    {"cpuacct.stat", &CpuTicks},
    {"cpuacct.usage", [](const Cgroup& group) { return Line(CpuUseOf(group).total_us * 1000); }},
    {"cpuacct.usage_percpu", &CpuUsagePerCpu},
    {"cpuacct.usage_sys", [](const Cgroup& group) { return Line(CpuUseOf(group).system_us * 1000); }},
    {"cpuacct.usage_user", [](const Cgroup& group) { return Line(CpuUseOf(group).user_us * 1000); }},
}};
constexpr std::array<ValueFile, 4> kCpuset = {{
    {"cpuset.cpus", [](const Cgroup& group) { return CpusOf(group) + "\n"; }},
    {"cpuset.effective_cpus", [](const Cgroup& group) { return CpusOf(group) + "\n"; }},
    {"cpuset.effective_mems", [](const Cgroup& group) { return MemsOf(group) + "\n"; }},
    {"cpuset.mems", [](const Cgroup& group) { return MemsOf(group) + "\n"; }},
}};
constexpr std::array<ValueFile, 3> kPids = {{
    {"pids.current", [](const Cgroup& group) { return Line(static_cast<uint64_t>(group.task_count())); }},
    {"pids.events", [](const Cgroup& group) { return "max " + Line(group.refusals()); }},
    {"pids.max", &PidsMax},
}};
constexpr std::array<ValueFile, 4> kBlkio = {{
    {"blkio.throttle.io_service_bytes", &BlockIo<kServiceBytes>},
    {"blkio.throttle.io_service_bytes_recursive", &BlockIo<kServiceBytes>},
    {"blkio.throttle.io_serviced", &BlockIo<kServiced>},
    {"blkio.throttle.io_serviced_recursive", &BlockIo<kServiced>},
}};
constexpr std::array<ValueFile, 1> kDevices = {{{"devices.list", &Fixed<kAllDevices>}}};
constexpr std::array<ValueFile, 3> kFreezer = {{
    {"freezer.parent_freezing", &Fixed<kZero>},
    {"freezer.self_freezing", [](const Cgroup& group) { return Line(group.frozen()); }},
    {"freezer.state", [](const Cgroup& group) { return std::string(group.frozen() ? "FROZEN\n" : "THAWED\n"); }},
}};

}  // namespace

std::span<const ValueFile> HierarchyFiles() { return kHierarchy; }

std::span<const ValueFile> ControllerFiles(std::string_view controller) {
  if (controller == "memory") return kMemory;
  if (controller == "cpu") return kCpu;
  if (controller == "cpuacct") return kCpuacct;
  if (controller == "cpuset") return kCpuset;
  if (controller == "pids") return kPids;
  if (controller == "blkio") return kBlkio;
  if (controller == "devices") return kDevices;
  if (controller == "freezer") return kFreezer;
  return {};
}

}  // namespace sandbox::cgroupfs
