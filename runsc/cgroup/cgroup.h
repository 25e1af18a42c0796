// The control groups of one container: one folder in every version 1 hierarchy that carries a controller we know, or
// one in the version 2 hierarchy. The sentry, the gofer and the stubs are in them.
//
// Version 1's pids group is two, side by side: the one of the container has exactly the bundle's limit and holds the
// stand-ins, as the sentry counts guest tasks; the other holds the sandbox's own tasks, under a limit that leaves room
// for them. Version 2 has one tree for all controllers, so there one group has the wider limit.
//
// On a hybrid host a container has a folder in the version 2 tree too if a limit is given whose controller is there and
// not in version 1.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/spec/spec.h"

namespace sandbox::cgroup {

class Cgroup {
 public:
  // The groups that `path` (linux.cgroupsPath) names, not made yet: absolute below each hierarchy's root, relative
  // below the caller's own group, or beside it in the version 2 tree; empty stands for the id. `resources` says which
  // controllers there are limits for.
  static absl::StatusOr<Cgroup> Plan(const std::string& path, const std::string& id, const spec::Resources& resources);
  // Makes them. With no path, a host or a user without writable groups is no error: there are none then. On failure
  // nothing is left behind.
  absl::Status Make();
  // Those a state file lists.
  static Cgroup Existing(std::vector<std::string> folders) { return Cgroup(std::move(folders)); }

  // Writes the limits that are given.
  absl::Status Apply(const spec::Resources& resources) const;
  // A process of the sandbox, which its later children follow.
  absl::Status Add(pid_t pid) const;
  // The main thread of what stands for a guest process. Its other threads stay where they are.
  absl::Status AddStandIn(pid_t pid) const;
  // Kills what is in them, then removes them. Groups that are gone already are no error.
  absl::Status Remove() const;
  // Host processes in them, ascending.
  std::vector<pid_t> Processes() const;

  // Read-only, by name: what guests are shown of the groups (sentry/kernel/cgroup.h).
  std::map<std::string, UniqueFd> OpenValues() const;
  // Each folder's cgroup.procs that Add writes, to be written.
  absl::StatusOr<std::vector<UniqueFd>> OpenProcesses() const;

  bool empty() const { return folders_.empty(); }
  // Absolute paths. The one of a controller is FolderOf.
  const std::vector<std::string>& folders() const { return folders_; }
  // "" when there is none. With version 2 every controller's is the same.
  std::string FolderOf(const std::string& controller) const;
  // Of the hugetlb controller: "2MB", "1GB".
  std::vector<std::string> HugePageSizes() const;
  // The pids group of the sandbox's own tasks; "" when they are in the container's.
  std::string OwnPidsFolder() const;
  bool unified() const;

 private:
  // One folder to make: below the mount of a controller's hierarchy.
  struct Planned {
    std::string controller, mount, below;
  };
  explicit Cgroup(std::vector<std::string> folders) : folders_(std::move(folders)) {}
  // Those that Add writes to.
  std::vector<std::string> OwnFolders() const;
  // The one in the version 2 tree, also on a hybrid host; "" when there is none.
  std::string FolderOfVersion2() const;

  std::vector<std::string> folders_;
  std::vector<Planned> plan_;
  bool optional_ = false;
};

// apply_v1.cc, apply_v2.cc.
absl::Status ApplyV1(const Cgroup& group, const spec::Resources& resources);
absl::Status ApplyV2(const std::string& folder, const spec::Resources& resources);
// What the host's pids.max is for a limit of guest tasks; -1 stays -1.
int64_t HostPidsLimit(int64_t guest_limit);
// For rdma.max, which is the same in both versions.
std::string RdmaLine(const std::string& device, const spec::Rdma& limit);

}  // namespace sandbox::cgroup
