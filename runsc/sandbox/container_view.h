// The mount namespace of a container's gofer, which is what the host sees behind the container's pid: its root with the
// bind mounts in place and a proc of its own. Engines look there (`podman cp` enters it, `podman top` reads its /proc),
// and the gofer has no other part of the host's tree in reach.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "runsc/sandbox/sandbox.h"

namespace sandbox {

// Turns the calling process's mount namespace, which must be its own, into that view and makes it the root. trees[0] is
// the root, which `root_tree` is open at. What cannot be shown (a mount point that only the sentry will make, no
// privilege to mount) is left out. Call after everything outside has been opened. `built`, which may be null, is called
// when the mounts are in place and the host's tree is in reach still, with the root.
absl::Status EnterContainerView(const std::vector<HostTree>& trees, BorrowedFd root_tree,
                                const std::function<absl::Status(BorrowedFd root)>& built);

}  // namespace sandbox
