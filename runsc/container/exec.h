// runsc exec: a process beside the container's first one.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runsc/container/store.h"
#include "runsc/spec/spec.h"

namespace sandbox {

struct ExecOptions {
  spec::Process process;
  std::string pid_file;
  std::string console_socket;
  bool detach = false;
  int preserve_fds = 0;
  bool ignore_paused = false;
};

// Runs the process to its end and returns its exit code; detached, returns 0 once it runs, leaving a stand-in behind
// whose pid is in the pid file. Errors carry the exit code for runsc (control::ExitCodeOf).
absl::StatusOr<int> ExecInContainer(const ContainerDir& dir, const ContainerState& state, const ExecOptions& options);

// Host processes that stand for guest processes: the container's and those of detached or terminal execs. Stubs are not
// among them: what they run changes with every guest exec.
std::vector<pid_t> StandIns(const ContainerState& state);

// A startContainer hook: its path is the container's, so it runs inside, as the container's root.
absl::Status RunHookInside(const ContainerDir& dir, const ContainerState& state, const spec::Hook& hook);

}  // namespace sandbox
