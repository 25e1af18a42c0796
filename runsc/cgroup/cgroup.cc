#include "runsc/cgroup/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/unique_fd.h"
#include "runsc/cgroup/files.h"
#include "runsc/cgroup/hierarchy.h"

namespace sandbox::cgroup {
namespace {

constexpr char kOwnSuffix[] = ".runsc";
// Longest that the kernel may take to end killed processes before Remove gives up.
constexpr int kRemoveTimeoutMs = 10000;

// Version 1: a new group has no CPUs and no memory nodes until somebody says which.
absl::Status InheritCpuset(const std::string& folder) {
  for (const char* name : {"/cpuset.cpus", "/cpuset.mems"}) {
    const auto own = ReadFile(folder + name);
    if (!own.ok()) return own.status();
    if (own->find_first_not_of(" \n") != std::string::npos) continue;
    const auto parent = ReadFile(folder.substr(0, folder.rfind('/')) + name);
    if (!parent.ok()) return parent.status();
    if (auto status = WriteFile(folder + name, *parent); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Version 2: a controller is there for the children of a group that enables it.
absl::Status EnableControllers(const std::string& folder) {
  const auto available = ReadFile(folder + "/cgroup.controllers");
  if (!available.ok()) return available.status();
  for (const auto name : absl::StrSplit(*available, absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
    // One that cannot be enabled (threaded groups, processes in the way) is missed when a limit of it is set.
    (void)WriteFile(folder + "/cgroup.subtree_control", absl::StrCat("+", name));
  }
  return absl::OkStatus();
}

// Makes `mount` + `path` and what is missing above it. `made` gets the last one.
absl::Status MakeGroup(const std::string& controller, const std::string& mount, const std::string& path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string folder = mount + path.substr(0, end);
    const bool last = end == std::string::npos;
    if (controller.empty()) {
      if (auto status = EnableControllers(folder.substr(0, folder.rfind('/'))); !status.ok()) return status;
    }
    if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
      return absl::PermissionDeniedError(absl::StrCat("cgroup ", folder, ": ", std::strerror(errno)));
    }
    if (controller == "cpuset") {
      if (auto status = InheritCpuset(folder); !status.ok()) return status;
    }
    if (last) return absl::OkStatus();
  }
}

// Whether limits are given for a controller that no version 1 hierarchy has, so that only version 2 can have it.
bool WantsVersion2(const Hierarchies& hierarchies, const spec::Resources& resources) {
  const auto missing = [&](bool wanted, const char* controller) {
    return wanted && !hierarchies.places.contains(controller);
  };
  return hierarchies.places.contains("") &&
         (!resources.unified.empty() || missing(resources.memory.has_value(), "memory") ||
          missing(resources.cpu.has_value(), "cpu") || missing(resources.pids.has_value(), "pids") ||
          missing(resources.block_io.has_value(), "blkio") || missing(!resources.hugepage_limits.empty(), "hugetlb") ||
          missing(!resources.rdma.empty(), "rdma"));
}

bool Known(const std::string& controller) {
  static const std::set<std::string> kKnown = {"",         "blkio",      "cpu",     "cpuacct", "cpuset",
                                               "devices",  "freezer",    "hugetlb", "memory",  "net_cls",
                                               "net_prio", "perf_event", "pids",    "rdma",    "name=systemd"};
  return kKnown.contains(controller);
}

// Sizes of huge pages that a group has files for: "hugetlb.2MB.limit_in_bytes", with version 2 "hugetlb.2MB.max".
std::vector<std::string> SizesIn(const std::string& folder) {
  std::vector<std::string> sizes;
  DIR* const dir = folder.empty() ? nullptr : ::opendir(folder.c_str());
  if (dir == nullptr) return sizes;
  while (const dirent* entry = ::readdir(dir)) {
    const std::vector<std::string> parts = absl::StrSplit(entry->d_name, '.');
    if (parts.size() == 3 && parts[0] == "hugetlb" && (parts[2] == "limit_in_bytes" || parts[2] == "max"))
      sizes.push_back(parts[1]);
  }
  ::closedir(dir);
  std::sort(sizes.begin(), sizes.end());
  return sizes;
}

void KillAll(const std::string& folder) {
  if (Exists(folder + "/cgroup.kill")) {
    (void)WriteFile(folder + "/cgroup.kill", "1");
    return;
  }
  const auto text = ReadFile(folder + "/cgroup.procs");
  if (!text.ok()) return;
  for (const auto line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    pid_t pid;
    if (absl::SimpleAtoi(line, &pid) && pid != ::getpid()) ::kill(pid, SIGKILL);
  }
}

// Groups that guests' programs cannot make: only ours are in there, but a group below one is removed too.
absl::Status RemoveFolder(const std::string& folder) {
  for (int waited = 0;; waited += 5) {
    if (::rmdir(folder.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
    if (errno != EBUSY || waited >= kRemoveTimeoutMs) {
      return absl::InternalError(absl::StrCat("removing cgroup ", folder, ": ", std::strerror(errno)));
    }
    // Killed processes leave the group when they are done; version 1 has no event for that.
    KillAll(folder);
    ::poll(nullptr, 0, 5);
  }
}

}  // namespace

absl::StatusOr<Cgroup> Cgroup::Plan(const std::string& path, const std::string& id, const spec::Resources& resources) {
  if (path.find("..") != std::string::npos)
    return absl::InvalidArgumentError("linux.cgroupsPath: must not contain \"..\"");
  const Hierarchies hierarchies = FindHierarchies();
  const bool version2 = hierarchies.unified() || WantsVersion2(hierarchies, resources);
  Cgroup group({});
  group.optional_ = path.empty();
  const auto add = [&](const std::string& controller, const std::string& mount, const std::string& below) {
    if (std::find(group.folders_.begin(), group.folders_.end(), mount + below) == group.folders_.end())
      group.folders_.push_back(mount + below);
    group.plan_.push_back({controller, mount, below});
  };
  std::string pids_mount, pids_below;
  for (const auto& [controller, place] : hierarchies.places) {
    if (!Known(controller) || (controller.empty() && !version2)) continue;
    std::string own = place.own;
    // A group of version 2 with processes in it passes no controllers on (cgroups(7), "no internal processes").
    if (controller.empty()) own = own.substr(0, own.rfind('/'));
    const std::string below = !path.empty() && path[0] == '/' ? path : absl::StrCat(own, "/", path.empty() ? id : path);
    add(controller, place.mount, below);
    if (controller == "pids") pids_mount = place.mount, pids_below = below;
  }
  // Mounted together with another controller, the sandbox's own tasks would escape that one.
  const auto together = std::count_if(hierarchies.places.begin(), hierarchies.places.end(),
                                      [&](const auto& place) { return place.second.mount == pids_mount; });
  if (together == 1) add("pids", pids_mount, pids_below + kOwnSuffix);
  return group;
}

absl::Status Cgroup::Make() {
  std::vector<std::string> made;
  for (const Planned& one : plan_) {
    auto status = MakeGroup(one.controller, one.mount, one.below);
    made.push_back(one.mount + one.below);
    if (status.ok()) continue;
    (void)Cgroup(made).Remove();
    if (!optional_) return status;
    folders_.clear();
    break;
  }
  return absl::OkStatus();
}

std::string Cgroup::OwnPidsFolder() const {
  const std::string pids = unified() ? "" : FolderOf("pids");
  return !pids.empty() && folders_.back() == pids + kOwnSuffix ? folders_.back() : "";
}

std::vector<std::string> Cgroup::OwnFolders() const {
  std::vector<std::string> folders = folders_;
  if (!OwnPidsFolder().empty()) std::erase(folders, FolderOf("pids"));
  return folders;
}

std::string Cgroup::FolderOf(const std::string& controller) const {
  // A folder's controller shows in its files.
  static const std::pair<const char*, const char*> kMarks[] = {
      {"memory", "/memory.limit_in_bytes"}, {"cpu", "/cpu.shares"},        {"cpuacct", "/cpuacct.usage"},
      {"cpuset", "/cpuset.cpus"},           {"pids", "/pids.current"},     {"blkio", "/blkio.throttle.io_serviced"},
      {"devices", "/devices.list"},         {"freezer", "/freezer.state"}, {"net_cls", "/net_cls.classid"},
      {"net_prio", "/net_prio.ifpriomap"},  {"rdma", "/rdma.current"}};
  if (unified()) return folders_[0];
  if (controller == "hugetlb") {
    const auto found =
        std::find_if(folders_.begin(), folders_.end(), [](const auto& folder) { return !SizesIn(folder).empty(); });
    return found == folders_.end() ? "" : *found;
  }
  for (const auto& [name, mark] : kMarks) {
    if (controller != name) continue;
    for (const std::string& folder : folders_) {
      if (Exists(folder + mark)) return folder;
    }
  }
  return "";
}

std::vector<std::string> Cgroup::HugePageSizes() const { return SizesIn(FolderOf("hugetlb")); }

std::string Cgroup::FolderOfVersion2() const {
  const auto found = std::find_if(folders_.begin(), folders_.end(),
                                  [](const auto& folder) { return Exists(folder + "/cgroup.controllers"); });
  return found == folders_.end() ? "" : *found;
}

bool Cgroup::unified() const { return folders_.size() == 1 && !FolderOfVersion2().empty(); }

absl::Status Cgroup::Apply(const spec::Resources& resources) const {
  if (folders_.empty()) return absl::OkStatus();
  const std::string second = FolderOfVersion2();
  if (unified()) return ApplyV2(second, resources);
  if (second.empty()) return ApplyV1(*this, resources);
  // Hybrid: files of version 2 for what is there. Those of pids, cpuset and rdma have the same names in both.
  spec::Resources of_first = resources, of_second;
  std::swap(of_first.unified, of_second.unified);
  if (FolderOf("memory").empty()) std::swap(of_first.memory, of_second.memory);
  if (FolderOf("cpu").empty()) std::swap(of_first.cpu, of_second.cpu);
  if (FolderOf("blkio").empty()) std::swap(of_first.block_io, of_second.block_io);
  if (FolderOf("hugetlb") == second) std::swap(of_first.hugepage_limits, of_second.hugepage_limits);
  auto status = ApplyV1(*this, of_first);
  status.Update(ApplyV2(second, of_second));
  return status;
}

absl::Status Cgroup::Add(pid_t pid) const {
  for (const std::string& folder : OwnFolders()) {
    if (auto status = WriteFile(folder + "/cgroup.procs", std::to_string(pid)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Cgroup::AddStandIn(pid_t pid) const {
  if (OwnPidsFolder().empty()) return absl::OkStatus();
  return WriteFile(FolderOf("pids") + "/tasks", std::to_string(pid));
}

absl::Status Cgroup::Remove() const {
  absl::Status result;
  for (const std::string& folder : folders_) result.Update(RemoveFolder(folder));
  return result;
}

std::map<std::string, UniqueFd> Cgroup::OpenValues() const {
  static constexpr const char* kUnified[] = {"cpu.stat",       "cpuset.cpus.effective", "io.stat",
                                             "memory.current", "memory.events",         "memory.peak",
                                             "memory.stat",    "memory.swap.current"};
  static constexpr std::pair<const char*, const char*> kHierarchies[] = {{"blkio", "blkio.throttle.io_service_bytes"},
                                                                         {"blkio", "blkio.throttle.io_serviced"},
                                                                         {"cpu", "cpu.stat"},
                                                                         {"cpuacct", "cpuacct.stat"},
                                                                         {"cpuacct", "cpuacct.usage"},
                                                                         {"cpuset", "cpuset.effective_cpus"},
                                                                         {"memory", "memory.failcnt"},
                                                                         {"memory", "memory.max_usage_in_bytes"},
                                                                         {"memory", "memory.oom_control"},
                                                                         {"memory", "memory.stat"},
                                                                         {"memory", "memory.usage_in_bytes"}};
  std::map<std::string, UniqueFd> files;
  const auto open = [&](const std::string& folder, const char* name) {
    UniqueFd fd(folder.empty() ? -1 : ::open((folder + "/" + name).c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.valid()) files.emplace(name, std::move(fd));
  };
  if (unified()) {
    for (const char* name : kUnified) open(folders_[0], name);
  } else {
    for (const auto& [controller, name] : kHierarchies) open(FolderOf(controller), name);
  }
  return files;
}

absl::StatusOr<std::vector<UniqueFd>> Cgroup::OpenProcesses() const {
  std::vector<UniqueFd> files;
  for (const std::string& folder : OwnFolders()) {
    files.emplace_back(::open((folder + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!files.back().valid())
      return absl::InternalError(absl::StrCat(folder, "/cgroup.procs: ", std::strerror(errno)));
  }
  return files;
}

std::vector<pid_t> Cgroup::Processes() const {
  std::vector<pid_t> pids;
  if (folders_.empty()) return pids;
  const auto text = ReadFile(folders_[0] + "/cgroup.procs");
  if (!text.ok()) return pids;
  for (const auto line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    pid_t pid;
    if (absl::SimpleAtoi(line, &pid)) pids.push_back(pid);
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

int64_t HostPidsLimit(int64_t guest_limit) {
  // Each guest task is a task of the host; the sentry serves each on a thread of its own at most; the rest is its
  // own threads, the gofer's, and prepared stubs.
  constexpr int64_t kOwnTasks = 128;
  return guest_limit <= 0 || guest_limit > (INT64_MAX - kOwnTasks) / 2 ? -1 : 2 * guest_limit + kOwnTasks;
}

std::string RdmaLine(const std::string& device, const spec::Rdma& limit) {
  std::string line = device;
  if (limit.hca_handles) absl::StrAppend(&line, " hca_handle=", *limit.hca_handles);
  if (limit.hca_objects) absl::StrAppend(&line, " hca_object=", *limit.hca_objects);
  return line;
}

}  // namespace sandbox::cgroup
