// The gofer as a process: which trees it is given and how it is started.
#pragma once

#include <sys/types.h>

#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "gofer/server/node.h"
#include "runsc/sandbox/child.h"
#include "runsc/sandbox/sandbox.h"

namespace sandbox {

// Opens each tree's host folder (or file) O_PATH, following symbolic links in its name: it is the caller's own word.
// NotFound or PermissionDenied with the path.
absl::StatusOr<std::vector<gofer::Tree>> OpenTrees(const std::vector<HostTree>& trees);

// Starts the gofer serving `trees` on `connection`.
absl::StatusOr<pid_t> StartGofer(ChildOptions options, const std::vector<gofer::Tree>& trees, BorrowedFd connection, int log_fd);

}  // namespace sandbox
