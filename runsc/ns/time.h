// Time namespaces (time_namespaces(7)): clocks of the host that are shifted for those who are in them.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace sandbox::ns {

// A new one. `offsets`: lines as of /proc/PID/timens_offsets, may be empty. The calling process stays where it is; it
// must have one thread.
absl::StatusOr<UniqueFd> NewTimeNamespace(const std::string& offsets);

}  // namespace sandbox::ns
