// The control groups of one container: one folder in every version 1 hierarchy that carries a controller we know, or
// one in the version 2 hierarchy. The sentry, the gofer and the stubs are in them.
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
  // Makes the groups that `path` (linux.cgroupsPath) names: absolute below each hierarchy's root, relative below the
  // caller's own group; empty stands for the id. With no path, a host or a user without writable groups is no error:
  // there are none then. On failure nothing is left behind.
  static absl::StatusOr<Cgroup> Create(const std::string& path, const std::string& id);
  // Those a state file lists.
  static Cgroup Existing(std::vector<std::string> folders) { return Cgroup(std::move(folders)); }

  // Writes the limits that are given. The host's pids limit leaves room for the sentry's own threads: guest tasks are
  // counted by the sentry.
  absl::Status Apply(const spec::Resources& resources) const;
  absl::Status Add(pid_t pid) const;
  // Kills what is in them, then removes them. Groups that are gone already are no error.
  absl::Status Remove() const;
  // Host processes in them, ascending.
  std::vector<pid_t> Processes() const;

  // Read-only, by name: what guests are shown of the groups (sentry/kernel/cgroup.h).
  std::map<std::string, UniqueFd> OpenValues() const;
  // Each folder's cgroup.procs, to be written.
  absl::StatusOr<std::vector<UniqueFd>> OpenProcesses() const;

  bool empty() const { return folders_.empty(); }
  // Absolute paths. The one of a controller is FolderOf.
  const std::vector<std::string>& folders() const { return folders_; }
  // "" when there is none. With version 2 every controller's is the same.
  std::string FolderOf(const std::string& controller) const;
  bool unified() const;

 private:
  explicit Cgroup(std::vector<std::string> folders) : folders_(std::move(folders)) {}
  std::vector<std::string> folders_;
};

// apply_v1.cc, apply_v2.cc.
absl::Status ApplyV1(const Cgroup& group, const spec::Resources& resources);
absl::Status ApplyV2(const Cgroup& group, const spec::Resources& resources);
// What the host's pids.max is for a limit of guest tasks; -1 stays -1.
int64_t HostPidsLimit(int64_t guest_limit);

}  // namespace sandbox::cgroup
