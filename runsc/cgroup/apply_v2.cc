// Limits in the files of version 2 (Documentation/admin-guide/cgroup-v2.rst), from the bundle's, which are version 1's.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runsc/cgroup/cgroup.h"
#include "runsc/cgroup/files.h"

namespace sandbox::cgroup {
namespace {

std::string Maximum(int64_t value) { return value < 0 ? "max" : absl::StrCat(value); }

class Files {
 public:
  explicit Files(const std::string& folder) : folder_(folder) {}
  void Write(const std::string& name, const std::string& value) {
    status_.Update(WriteFile(folder_ + "/" + name, value));
  }
  bool Has(const char* name) const { return Exists(folder_ + "/" + name); }
  const absl::Status& status() const { return status_; }

 private:
  const std::string folder_;
  absl::Status status_;
};

void ApplyMemory(Files& files, const spec::Memory& memory) {
  // Version 1's swap limit includes memory.
  if (memory.swap && *memory.swap != 0 && files.Has("memory.swap.max")) {
    const int64_t swap =
        *memory.swap < 0 ? -1 : std::max<int64_t>(*memory.swap - std::max<int64_t>(memory.limit.value_or(0), 0), 0);
    files.Write("memory.swap.max", Maximum(swap));
  }
  if (memory.limit && *memory.limit != 0) files.Write("memory.max", Maximum(*memory.limit));
  if (memory.reservation && *memory.reservation != 0) files.Write("memory.low", Maximum(*memory.reservation));
}

// The bundle's 2…262144 (default 1024) to 1…10000 (default 100), linearly, as other runtimes do.
uint64_t CpuWeight(uint64_t shares) { return 1 + (std::clamp<uint64_t>(shares, 2, 262144) - 2) * 9999 / 262142; }

void ApplyCpu(Files& files, const spec::Cpu& cpu) {
  if (cpu.shares && *cpu.shares != 0) files.Write("cpu.weight", absl::StrCat(CpuWeight(*cpu.shares)));
  if (cpu.quota || cpu.period) {
    constexpr uint64_t kDefaultPeriod = 100000;
    const uint64_t period = cpu.period && *cpu.period != 0 ? *cpu.period : kDefaultPeriod;
    const int64_t quota = cpu.quota && *cpu.quota > 0 ? *cpu.quota : -1;
    files.Write("cpu.max", absl::StrCat(Maximum(quota), " ", period));
  }
  if (cpu.burst) files.Write("cpu.max.burst", absl::StrCat(*cpu.burst));
  if (cpu.idle) files.Write("cpu.idle", absl::StrCat(*cpu.idle));
  if (!cpu.cpus.empty()) files.Write("cpuset.cpus", cpu.cpus);
  if (!cpu.mems.empty()) files.Write("cpuset.mems", cpu.mems);
}

void Throttle(Files& files, const char* key, const std::vector<spec::ThrottleDevice>& devices) {
  for (const auto& device : devices) {
    files.Write("io.max", absl::StrCat(device.major, ":", device.minor, " ", key, "=",
                                       device.rate == 0 ? "max" : absl::StrCat(device.rate)));
  }
}

void ApplyBlockIo(Files& files, const spec::BlockIo& io) {
  if (io.weight && *io.weight != 0) {
    if (files.Has("io.bfq.weight")) {
      files.Write("io.bfq.weight", absl::StrCat(*io.weight));
    } else if (files.Has("io.weight")) {
      files.Write("io.weight", absl::StrCat(1 + (std::clamp<uint64_t>(*io.weight, 10, 1000) - 10) * 9999 / 990));
    }
  }
  Throttle(files, "rbps", io.read_bps);
  Throttle(files, "wbps", io.write_bps);
  Throttle(files, "riops", io.read_iops);
  Throttle(files, "wiops", io.write_iops);
}

}  // namespace

absl::Status ApplyV2(const std::string& folder, const spec::Resources& resources) {
  Files files(folder);
  if (resources.memory) ApplyMemory(files, *resources.memory);
  if (resources.cpu) ApplyCpu(files, *resources.cpu);
  if (resources.block_io) ApplyBlockIo(files, *resources.block_io);
  if (resources.pids && resources.pids->limit != 0)
    files.Write("pids.max", Maximum(HostPidsLimit(resources.pids->limit)));
  for (const spec::HugepageLimit& limit : resources.hugepage_limits) {
    files.Write(absl::StrCat("hugetlb.", limit.page_size, ".max"), absl::StrCat(limit.limit));
  }
  for (const auto& [device, limit] : resources.rdma) files.Write("rdma.max", RdmaLine(device, limit));
  // Network classes and priorities are version 1's. Device rules need no program here: guests reach no host device, and
  // our own processes open none.
  for (const auto& [name, value] : resources.unified) {
    if (name.find('/') != std::string::npos)
      return absl::InvalidArgumentError("unified resource \"" + name + "\" must be a file name");
    files.Write(name, value);
  }
  return files.status();
}

}  // namespace sandbox::cgroup
