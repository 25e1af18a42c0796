// Limits in the files of version 1 (Documentation/admin-guide/cgroup-v1).
#include "absl/strings/str_cat.h"
#include "runsc/cgroup/cgroup.h"
#include "runsc/cgroup/files.h"

namespace sandbox::cgroup {
namespace {

// Writes a series of values and remembers the first failure.
class Files {
 public:
  Files(const Cgroup& group, const char* controller) : controller_(controller), folder_(group.FolderOf(controller)) {}
  template <typename T>
  Files& Set(const char* name, const std::optional<T>& value) {
    if (value) Write(name, absl::StrCat(*value));
    return *this;
  }
  void Write(const char* name, const std::string& value) {
    if (!status_.ok()) return;
    if (folder_.empty()) {
      status_ = absl::FailedPreconditionError(absl::StrCat("the host has no cgroup controller \"", controller_, "\""));
    } else {
      status_ = WriteFile(folder_ + "/" + name, value);
    }
  }
  bool Has(const char* name) const { return !folder_.empty() && Exists(folder_ + "/" + name); }
  std::optional<uint64_t> Read(const char* name) const { return ReadNumber(folder_ + "/" + name); }
  const absl::Status& status() const { return status_; }

 private:
  const char* controller_;
  const std::string folder_;
  absl::Status status_;
};

absl::Status ApplyMemory(const Cgroup& group, const spec::Memory& memory) {
  Files files(group, "memory");
  // The limit with swap may never be below the one without: which goes first depends on the direction.
  const bool swap = memory.swap && *memory.swap != 0 && files.Has("memory.memsw.limit_in_bytes");
  const auto current = files.Read("memory.limit_in_bytes");
  const bool grows = swap && (*memory.swap < 0 || (current && static_cast<uint64_t>(*memory.swap) > *current));
  if (grows) files.Set("memory.memsw.limit_in_bytes", memory.swap);
  if (memory.limit && *memory.limit != 0) files.Set("memory.limit_in_bytes", memory.limit);
  if (swap && !grows) files.Set("memory.memsw.limit_in_bytes", memory.swap);
  if (memory.reservation && *memory.reservation != 0) files.Set("memory.soft_limit_in_bytes", memory.reservation);
  if (memory.swappiness && *memory.swappiness <= 100) files.Set("memory.swappiness", memory.swappiness);
  if (memory.disable_oom_killer.value_or(false)) files.Write("memory.oom_control", "1");
  return files.status();
}

absl::Status ApplyCpu(const Cgroup& group, const spec::Cpu& cpu) {
  if (cpu.shares || cpu.quota || cpu.period || cpu.burst || cpu.realtime_period || cpu.realtime_runtime) {
    Files files(group, "cpu");
    if (cpu.shares && *cpu.shares != 0) files.Set("cpu.shares", cpu.shares);
    if (cpu.period && *cpu.period != 0) files.Set("cpu.cfs_period_us", cpu.period);
    if (cpu.quota && *cpu.quota != 0) files.Set("cpu.cfs_quota_us", cpu.quota);
    files.Set("cpu.cfs_burst_us", cpu.burst);
    if (cpu.realtime_period && *cpu.realtime_period != 0) files.Set("cpu.rt_period_us", cpu.realtime_period);
    if (cpu.realtime_runtime && *cpu.realtime_runtime != 0) files.Set("cpu.rt_runtime_us", cpu.realtime_runtime);
    if (!files.status().ok()) return files.status();
  }
  if (cpu.cpus.empty() && cpu.mems.empty()) return absl::OkStatus();
  Files files(group, "cpuset");
  if (!cpu.cpus.empty()) files.Write("cpuset.cpus", cpu.cpus);
  if (!cpu.mems.empty()) files.Write("cpuset.mems", cpu.mems);
  return files.status();
}

void Throttle(Files& files, const char* name, const std::vector<spec::ThrottleDevice>& devices) {
  for (const auto& device : devices) files.Write(name, absl::StrCat(device.major, ":", device.minor, " ", device.rate));
}

absl::Status ApplyBlockIo(const Cgroup& group, const spec::BlockIo& io) {
  Files files(group, "blkio");
  // The weight's file has two names, by scheduler; a host without either cannot weigh, which is a hint anyway.
  for (const char* name : {"blkio.weight", "blkio.bfq.weight"}) {
    if (io.weight && *io.weight != 0 && files.Has(name)) files.Set(name, io.weight);
  }
  for (const auto& device : io.weight_device) {
    if (device.weight && files.Has("blkio.weight_device")) {
      files.Write("blkio.weight_device", absl::StrCat(device.major, ":", device.minor, " ", *device.weight));
    }
  }
  Throttle(files, "blkio.throttle.read_bps_device", io.read_bps);
  Throttle(files, "blkio.throttle.write_bps_device", io.write_bps);
  Throttle(files, "blkio.throttle.read_iops_device", io.read_iops);
  Throttle(files, "blkio.throttle.write_iops_device", io.write_iops);
  return files.status();
}

absl::Status ApplyDevices(const Cgroup& group, const std::vector<spec::DeviceRule>& rules) {
  if (rules.empty() || group.FolderOf("devices").empty())
    return absl::OkStatus();  // guests reach no host device anyway
  Files files(group, "devices");
  const auto number = [](const std::optional<int64_t>& n) {
    return n && *n >= 0 ? absl::StrCat(*n) : std::string("*");
  };
  for (const spec::DeviceRule& rule : rules) {
    const std::string type = rule.type.empty() ? "a" : rule.type;
    const std::string access = rule.access.empty() ? "rwm" : rule.access;
    files.Write(rule.allow ? "devices.allow" : "devices.deny",
                absl::StrCat(type, " ", number(rule.major), ":", number(rule.minor), " ", access));
  }
  return files.status();
}

absl::Status ApplyRdma(const Cgroup& group, const std::map<std::string, spec::Rdma>& limits) {
  if (limits.empty()) return absl::OkStatus();
  Files files(group, "rdma");
  for (const auto& [device, limit] : limits) files.Write("rdma.max", RdmaLine(device, limit));
  return files.status();
}

absl::Status ApplyNetwork(const Cgroup& group, const spec::Network& network) {
  absl::Status status;
  if (network.class_id) {
    Files files(group, "net_cls");
    files.Write("net_cls.classid", absl::StrCat(*network.class_id));
    status.Update(files.status());
  }
  if (network.priorities.empty()) return status;
  Files files(group, "net_prio");
  for (const auto& [name, priority] : network.priorities)
    files.Write("net_prio.ifpriomap", absl::StrCat(name, " ", priority));
  status.Update(files.status());
  return status;
}

}  // namespace

absl::Status ApplyV1(const Cgroup& group, const spec::Resources& resources) {
  absl::Status status;
  if (resources.memory) status.Update(ApplyMemory(group, *resources.memory));
  if (resources.cpu) status.Update(ApplyCpu(group, *resources.cpu));
  if (resources.block_io) status.Update(ApplyBlockIo(group, *resources.block_io));
  if (resources.pids && resources.pids->limit != 0) {
    const auto text = [](int64_t limit) { return limit < 0 ? "max" : absl::StrCat(limit); };
    const int64_t guest_limit = resources.pids->limit, own_limit = HostPidsLimit(guest_limit);
    const std::string own = group.OwnPidsFolder();
    Files files(group, "pids");
    files.Write("pids.max", text(own.empty() ? own_limit : guest_limit));
    status.Update(files.status());
    if (!own.empty()) status.Update(WriteFile(own + "/pids.max", text(own_limit)));
  }
  for (const spec::HugepageLimit& limit : resources.hugepage_limits) {
    Files files(group, "hugetlb");
    files.Write(absl::StrCat("hugetlb.", limit.page_size, ".limit_in_bytes").c_str(), absl::StrCat(limit.limit));
    status.Update(files.status());
  }
  status.Update(ApplyRdma(group, resources.rdma));
  if (resources.network) status.Update(ApplyNetwork(group, *resources.network));
  status.Update(ApplyDevices(group, resources.devices));
  if (!resources.unified.empty())
    status.Update(absl::InvalidArgumentError("linux.resources.unified: the host has cgroup version 1"));
  return status;
}

}  // namespace sandbox::cgroup
