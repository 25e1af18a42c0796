// Moving a process of ours into an empty root, so that a compromise finds no file to open.
#pragma once

#include "absl/status/status.h"

namespace sandbox::ns {

// Replaces the root of the calling process's mount namespace by an empty read-only tmpfs and detaches everything else.
// The process must own its mount namespace. Descriptors that are open stay usable.
absl::Status EnterEmptyRoot();

}  // namespace sandbox::ns
