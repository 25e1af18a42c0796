// Hooks of the bundle: host programs that engines have run at points of a container's life (OCI runtime specification,
// config.md, "POSIX-platform Hooks").
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runsc/spec/spec.h"

namespace sandbox {

// Runs the hooks of one kind in order, each with the state document on standard input, in the runtime's namespaces, or
// with `enter` in the user, mount, network, IPC and UTS namespaces of that process. The first that fails, or is not
// done within its timeout (it is killed then), ends the list; the error has its standard error.
absl::Status RunHooks(const char* kind, const std::vector<spec::Hook>& hooks, const std::string& state,
                      pid_t enter = 0);

// The same for hooks whose failures change nothing: every one runs. Returns what went wrong, for the log.
std::vector<std::string> RunAllHooks(const char* kind, const std::vector<spec::Hook>& hooks, const std::string& state);

}  // namespace sandbox
