// User namespaces and privileges of our own processes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace sandbox::ns {

// One line of uid_map/gid_map.
struct IdMap {
  uint32_t inside;
  uint32_t outside;
  uint32_t count;
};

// Writes the maps of `pid`'s new user namespace from its parent. Denies setgroups(2) first when the caller is not
// privileged, as user_namespaces(7) demands.
absl::Status WriteIdMaps(pid_t pid, const std::vector<IdMap>& uid, const std::vector<IdMap>& gid);

// Drops every capability from all sets of the calling thread and sets no_new_privs. `keep` are CAP_* bits to keep in
// the permitted and effective sets.
absl::Status DropPrivileges(uint64_t keep);

}  // namespace sandbox::ns
