// What a container has used, from its control groups.
#pragma once

#include <poll.h>

#include <cstdint>
#include <string>

#include "base/unique_fd.h"
#include "runsc/cgroup/cgroup.h"

namespace sandbox::cgroup {

// The "data" of runc's stats event, as JSON: cpu, cpuset, memory, pids, blkio, hugetlb. What the host does not count is
// zero or missing.
std::string StatsJson(const Cgroup& group);

// Tells when a group ran out of memory. Version 1 says so by an event, before it kills and counts; version 2 by the
// count of kills, in a file whose every change is an event.
class OomWatch {
 public:
  explicit OomWatch(const Cgroup& group);
  // For poll(2); the descriptor is invalid when the host has no such notice.
  pollfd Poll() const { return {event_.get(), poll_events_, 0}; }
  // After poll reported something: whether it was that, and not a change of another count or the end of the group.
  bool Struck();

 private:
  std::string file_;
  bool unified_ = false;
  UniqueFd event_, held_;  // `held_` keeps version 1's registration alive
  short poll_events_ = 0;
  uint64_t kills_ = 0;  // version 2
};

}  // namespace sandbox::cgroup
