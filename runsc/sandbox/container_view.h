// The mount namespace of a container's gofer, which is what the host sees behind the container's pid: its root with the bind
// mounts in place and a proc of its own. Engines look there (`podman cp` enters it, `podman top` reads its /proc), and the
// gofer has no other part of the host's tree in reach.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "runsc/sandbox/sandbox.h"

namespace sandbox {

// Turns the calling process's mount namespace, which must be its own, into that view and makes it the root. trees[0] is the
// root. What cannot be shown (a mount point that only the sentry will make, no privilege to mount) is left out. Call after
// everything outside has been opened.
absl::Status EnterContainerView(const std::vector<HostTree>& trees);

}  // namespace sandbox
