// What a container has used, from its control groups.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "runsc/cgroup/cgroup.h"

namespace sandbox::cgroup {

// The "data" of runc's stats event, as JSON: cpu, memory, pids, blkio, hugetlb. What the host does not count is zero or
// missing.
std::string StatsJson(const Cgroup& group);

// Something that poll(2) reports when the OOM killer took a process of the group; OomKills is then larger than before.
// Invalid when the host has no such notice.
struct OomNotice {
  UniqueFd event, held;  // `held` keeps version 1's registration alive
  short poll_events = 0;
};
OomNotice WatchOom(const Cgroup& group);
uint64_t OomKills(const Cgroup& group);

}  // namespace sandbox::cgroup
