// The host folders and files of a container as descriptors for its gofer.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "gofer/server/node.h"
#include "runsc/sandbox/sandbox.h"

namespace sandbox {

// Opens each tree's host folder (or file) O_PATH, following symbolic links in its name: it is the caller's own word.
// What `mounts` and `upper` of a tree ask for is made here, as mounts that only these descriptors hold.
// NotFound or PermissionDenied with the path.
absl::StatusOr<std::vector<gofer::Tree>> OpenTrees(const std::vector<HostTree>& trees);

}  // namespace sandbox
