// The gofer as a process: which trees it is given and how it is started.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "gofer/server/node.h"
#include "runsc/sandbox/child.h"
#include "runsc/sandbox/sandbox.h"

namespace sandbox {

// What makes a gofer the stand-in of its container's init (stand_in.h).
struct GoferStandIn {
  UniqueFd connection;             // to the sentry
  UniqueFd sentry;                 // its pidfd, if its end is the container's; else invalid
  BorrowedFd terminal, record;     // may be invalid
  std::vector<std::string> title;  // the init's arguments
  UniqueFd gate;  // to runsc, which runs hooks among the container's mounts before it lets the gofer go on; invalid =
                  // no hooks
  bool low_ports = false;  // gofer::GoferOptions
};

// Starts the gofer serving `trees`, opened from `view`, on `connection`. With `stand_in` it keeps none of runsc's
// standard streams and shows the container to the host (container_view.h).
absl::StatusOr<pid_t> StartGofer(ChildOptions options, const std::vector<gofer::Tree>& trees, BorrowedFd connection,
                                 int log_fd, const std::vector<HostTree>& view, const GoferStandIn* stand_in);

}  // namespace sandbox
