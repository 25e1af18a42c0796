// Deleting what a container wrote to a folder of its own.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace sandbox {

// Deletes the folder and what is in it, at most a few descriptors deep however deep that is. One that is not there is
// no error. Symbolic links are not followed.
absl::Status RemoveTree(const std::string& path);

}  // namespace sandbox
