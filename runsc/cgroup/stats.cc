#include "runsc/cgroup/stats.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "runsc/cgroup/files.h"

namespace sandbox::cgroup {
namespace {

using Json = nlohmann::ordered_json;

uint64_t Number(const std::string& path) { return ReadNumber(path).value_or(0); }
uint64_t Key(const std::string& path, const char* key) { return ReadKey(path, key).value_or(0); }

Json KeyValues(const std::string& path) {
  Json all = Json::object();
  const auto text = ReadFile(path);
  if (!text.ok()) return all;
  for (const auto line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, ' ');
    uint64_t number;
    if (parts.size() == 2 && absl::SimpleAtoi(parts[1], &number)) all[parts[0]] = number;
  }
  return all;
}

Json Numbers(const std::string& path) {
  Json all = Json::array();
  const auto text = ReadFile(path);
  if (!text.ok()) return all;
  for (const auto word : absl::StrSplit(*text, absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
    uint64_t number;
    if (absl::SimpleAtoi(word, &number)) all.push_back(number);
  }
  return all;
}

// Of a list of numbers and ranges: "0-1,3".
Json Members(const std::string& path) {
  Json all = Json::array();
  const auto text = ReadFile(path);
  if (!text.ok()) return all;
  for (const auto part : absl::StrSplit(*text, absl::ByAnyChar(",\n"), absl::SkipEmpty())) {
    const std::vector<std::string> ends = absl::StrSplit(part, '-');
    uint32_t first, last;
    if (!absl::SimpleAtoi(ends.front(), &first) || !absl::SimpleAtoi(ends.back(), &last)) continue;
    for (uint64_t number = first; number <= last; ++number) all.push_back(number);
  }
  return all;
}

Json CpuV1(const Cgroup& group) {
  const std::string account = group.FolderOf("cpuacct"), cpu = group.FolderOf("cpu");
  constexpr uint64_t kNsPerTick = 1000000000 / 100;  // USER_HZ
  return {{"usage",
           {{"total", Number(account + "/cpuacct.usage")},
            {"percpu", Numbers(account + "/cpuacct.usage_percpu")},
            {"kernel", Key(account + "/cpuacct.stat", "system") * kNsPerTick},
            {"user", Key(account + "/cpuacct.stat", "user") * kNsPerTick}}},
          {"throttling",
           {{"periods", Key(cpu + "/cpu.stat", "nr_periods")},
            {"throttledPeriods", Key(cpu + "/cpu.stat", "nr_throttled")},
            {"throttledTime", Key(cpu + "/cpu.stat", "throttled_time")}}}};
}

Json CpuV2(const std::string& folder) {
  const std::string stat = folder + "/cpu.stat";
  return {{"usage",
           {{"total", Key(stat, "usage_usec") * 1000},
            {"kernel", Key(stat, "system_usec") * 1000},
            {"user", Key(stat, "user_usec") * 1000}}},
          {"throttling",
           {{"periods", Key(stat, "nr_periods")},
            {"throttledPeriods", Key(stat, "nr_throttled")},
            {"throttledTime", Key(stat, "throttled_usec") * 1000}}}};
}

Json MemoryV1(const Cgroup& group) {
  const std::string folder = group.FolderOf("memory");
  const auto entry = [&](const std::string& prefix) {
    return Json{{"limit", Number(folder + prefix + "limit_in_bytes")},
                {"usage", Number(folder + prefix + "usage_in_bytes")},
                {"max", Number(folder + prefix + "max_usage_in_bytes")},
                {"failcnt", Number(folder + prefix + "failcnt")}};
  };
  return {{"cache", Key(folder + "/memory.stat", "cache")},
          {"usage", entry("/memory.")},
          {"swap", entry("/memory.memsw.")},
          {"kernel", entry("/memory.kmem.")},
          {"kernelTCP", entry("/memory.kmem.tcp.")},
          {"raw", KeyValues(folder + "/memory.stat")}};
}

Json MemoryV2(const std::string& folder) {
  constexpr uint64_t kNone = UINT64_MAX;
  return {{"cache", Key(folder + "/memory.stat", "file")},
          {"usage",
           {{"limit", ReadNumber(folder + "/memory.max").value_or(kNone)},
            {"usage", Number(folder + "/memory.current")},
            {"max", Number(folder + "/memory.peak")},
            {"failcnt", Key(folder + "/memory.events", "max")}}},
          {"swap",
           {{"limit", ReadNumber(folder + "/memory.swap.max").value_or(kNone)},
            {"usage", Number(folder + "/memory.swap.current")}}},
          {"raw", KeyValues(folder + "/memory.stat")}};
}

// Lines of "major:minor operation value".
Json IoEntries(const std::string& path) {
  Json all = Json::array();
  const auto text = ReadFile(path);
  if (!text.ok()) return all;
  for (const auto line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::ByAnyChar(": "), absl::SkipEmpty());
    uint64_t major, minor, value;
    if (parts.size() == 4 && absl::SimpleAtoi(parts[0], &major) && absl::SimpleAtoi(parts[1], &minor) &&
        absl::SimpleAtoi(parts[3], &value)) {
      all.push_back({{"op", parts[2]}, {"major", major}, {"minor", minor}, {"value", value}});
    }
  }
  return all;
}

Json IoV1(const Cgroup& group) {
  const std::string folder = group.FolderOf("blkio");
  return {{"ioServiceBytesRecursive", IoEntries(folder + "/blkio.throttle.io_service_bytes_recursive")},
          {"ioServicedRecursive", IoEntries(folder + "/blkio.throttle.io_serviced_recursive")}};
}

// Lines of "major:minor rbytes=… wbytes=… rios=… …".
Json IoV2(const std::string& folder) {
  static constexpr std::pair<const char*, std::pair<const char*, const char*>> kKeys[] = {
      {"rbytes", {"ioServiceBytesRecursive", "Read"}},
      {"wbytes", {"ioServiceBytesRecursive", "Write"}},
      {"rios", {"ioServicedRecursive", "Read"}},
      {"wios", {"ioServicedRecursive", "Write"}}};
  Json io = {{"ioServiceBytesRecursive", Json::array()}, {"ioServicedRecursive", Json::array()}};
  const auto text = ReadFile(folder + "/io.stat");
  if (!text.ok()) return io;
  for (const auto line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::ByAnyChar(": ="), absl::SkipEmpty());
    uint64_t major, minor, value;
    if (words.size() < 2 || !absl::SimpleAtoi(words[0], &major) || !absl::SimpleAtoi(words[1], &minor)) continue;
    for (size_t i = 2; i + 1 < words.size(); i += 2) {
      for (const auto& [key, entry] : kKeys) {
        if (words[i] == key && absl::SimpleAtoi(words[i + 1], &value))
          io[entry.first].push_back({{"op", entry.second}, {"major", major}, {"minor", minor}, {"value", value}});
      }
    }
  }
  return io;
}

// Version 1's cpuset; version 2 has cpus and mems alone.
Json CpuSet(const Cgroup& group) {
  static constexpr std::pair<const char*, const char*> kFlags[] = {{"cpu_exclusive", "cpu_exclusive"},
                                                                   {"mem_exclusive", "mem_exclusive"},
                                                                   {"mem_hardwall", "mem_hardwall"},
                                                                   {"memory_migrate", "memory_migrate"},
                                                                   {"memory_pressure", "memory_pressure"},
                                                                   {"memory_spread_page", "memory_spread_page"},
                                                                   {"memory_spread_slab", "memory_spread_slab"},
                                                                   {"sched_load_balance", "sched_load_balance"}};
  const std::string folder = group.FolderOf("cpuset") + "/cpuset.";
  // With version 2 a group may have none of its own.
  const std::string suffix = group.unified() ? ".effective" : "";
  Json set = {{"cpus", Members(folder + "cpus" + suffix)}, {"mems", Members(folder + "mems" + suffix)}};
  for (const auto& [key, file] : kFlags) set[key] = Number(folder + file);
  const auto level = ReadFile(folder + "sched_relax_domain_level");
  int64_t number = 0;
  set["sched_relax_domain_level"] = level.ok() && absl::SimpleAtoi(*level, &number) ? number : 0;
  return set;
}

// By page size: "hugetlb.2MB.usage_in_bytes", with version 2 "hugetlb.2MB.current".
Json HugePages(const Cgroup& group) {
  Json pages = Json::object();
  for (const std::string& size : group.HugePageSizes()) {
    const std::string prefix = group.FolderOf("hugetlb") + "/hugetlb." + size;
    if (Exists(prefix + ".max")) {
      pages[size] = {{"usage", Number(prefix + ".current")}, {"failcnt", Key(prefix + ".events", "max")}};
    } else {
      pages[size] = {{"usage", Number(prefix + ".usage_in_bytes")},
                     {"max", Number(prefix + ".max_usage_in_bytes")},
                     {"failcnt", Number(prefix + ".failcnt")}};
    }
  }
  return pages;
}

}  // namespace

std::string StatsJson(const Cgroup& group) {
  Json data = Json::object();
  if (!group.empty()) {
    const std::string pids = group.FolderOf("pids");
    data["cpu"] = group.unified() ? CpuV2(group.folders()[0]) : CpuV1(group);
    data["cpuset"] = CpuSet(group);
    data["memory"] = group.unified() ? MemoryV2(group.folders()[0]) : MemoryV1(group);
    data["pids"] = {{"current", Number(pids + "/pids.current")}, {"limit", Number(pids + "/pids.max")}};
    data["blkio"] = group.unified() ? IoV2(group.folders()[0]) : IoV1(group);
    data["hugetlb"] = HugePages(group);
    // What runc's document has besides: caches are not divided, and interfaces are asked for in the container.
    data["intel_rdt"] = Json::object();
    data["network_interfaces"] = nullptr;
  }
  return data.dump();
}

OomWatch::OomWatch(const Cgroup& group) : unified_(group.unified()) {
  const std::string folder = group.FolderOf("memory");
  if (group.empty() || folder.empty()) return;
  file_ = folder + (unified_ ? "/memory.events" : "/memory.oom_control");
  UniqueFd file(::open(file_.c_str(), O_RDONLY | O_CLOEXEC));
  if (unified_) {
    poll_events_ = POLLPRI;
    kills_ = Key(file_, "oom_kill");
    event_ = std::move(file);
    return;
  }
  poll_events_ = POLLIN;
  held_ = std::move(file);
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!held_.valid() || !event.valid()) return;
  const std::string request = absl::StrCat(event.get(), " ", held_.get());
  if (WriteFile(folder + "/cgroup.event_control", request).ok()) event_ = std::move(event);
}

bool OomWatch::Struck() {
  if (unified_) {
    char seen[64];  // reading ends the event
    if (::pread(event_.get(), seen, sizeof(seen), 0) < 0) return false;
    const uint64_t before = std::exchange(kills_, Key(file_, "oom_kill"));
    return kills_ > before;
  }
  uint64_t count = 0;
  const bool counted = ::read(event_.get(), &count, sizeof(count)) == sizeof(count) && count > 0;
  return counted && ::access(file_.c_str(), F_OK) == 0;
}

}  // namespace sandbox::cgroup
