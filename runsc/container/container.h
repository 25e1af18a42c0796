// The life of a container, from the host's side. Each function is one runsc command; several of them may run at once,
// and any may be killed at any point: what is left then is cleaned up by DeleteContainer.
//
//   create: folder (locked) → cgroups → network namespace → sentry and gofer, forked → hooks → the sentry reports that
//   the
//           program is loaded → pid file, "created". Until then both end with runsc, which holds their boot connection.
//   start:  the sentry lets the first process run.
//   end:    the sentry reports the exit status to the gofer and ends; the gofer, whose pid is the container's, ends
//   with it. delete: folder and cgroups go.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/boot/config.h"
#include "runsc/cli/options.h"
#include "runsc/container/store.h"

namespace sandbox {

struct CreateOptions {
  std::string id;
  std::string bundle = ".";
  std::string pid_file;
  std::string console_socket;
  std::string overlay = "none";  // none, memory, dir, dir:PATH
  int preserve_fds = 0;
  bool foreground = false;  // runsc serves the terminal itself
};

struct Created {
  ContainerDir dir;  // locked
  ContainerState state;
  UniqueFd master;  // of the terminal, with `foreground`
};

absl::StatusOr<Created> CreateContainer(const cli::GlobalOptions& global, const CreateOptions& options);

// Of a locked container: FailedPrecondition unless it was created and not started yet. A start that fails ends it.
// Returns what failed without that (poststart hooks of bundles for older specifications), for the log.
absl::StatusOr<std::vector<std::string>> StartContainer(const ContainerDir& dir, ContainerState& state);

// "container not running" when it is stopped, unless `all`.
absl::Status KillContainer(const ContainerDir& dir, const ContainerState& state, int signo, bool all);

// A container that runs is an error unless `force`, and so is one that does not exist. With `force` a runsc that is
// still creating it is killed. Returns what failed without keeping it from being deleted (poststop hooks), for the log.
absl::StatusOr<std::vector<std::string>> DeleteContainer(const std::string& root, const std::string& id, bool force);

absl::Status PauseContainer(const ContainerDir& dir, ContainerState& state, bool pause);

// Applies new limits; what is not given stays as it is.
absl::Status UpdateContainer(const ContainerDir& dir, ContainerState& state, const spec::Resources& resources);

// The exit code of the container's first process; waits for its end.
absl::StatusOr<int> WaitContainer(const ContainerDir& dir, const ContainerState& state);

// What guests are to see of these limits.
CgroupLimits GuestLimits(const spec::Resources& resources);

// Written to a temporary name and renamed, so that nobody reads half a number.
absl::Status WritePidFile(const std::string& path, pid_t pid);

}  // namespace sandbox
