// Moving a process of ours into an empty root, so that a compromise finds no file to open.
#pragma once

#include "absl/status/status.h"
#include "base/unique_fd.h"

namespace sandbox::ns {

// Replaces the root of the calling process's mount namespace by an empty read-only tmpfs and detaches everything else.
// The process must own its mount namespace. Descriptors that are open stay usable.
absl::Status EnterEmptyRoot();

// The processes of the caller's pid namespace, as a read-only proc file system that is mounted nowhere and shows
// nothing else (proc(5), subset=pid). Invalid where the host does not let us, which is no error: it does not let a user
// namespace see more than the proc of its own mount namespace shows. Before EnterEmptyRoot.
UniqueFd OpenProcesses();

}  // namespace sandbox::ns
