// Being in another namespace for a while.
#pragma once

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace sandbox::ns {

// While it lives, what the calling process forks is in another pid, IPC, UTS or cgroup namespace; of a pid namespace
// the process itself is no member. One thread only.
class Visit {
 public:
  // `type`: CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP or CLONE_NEWTIME, which `place` must be of.
  static absl::StatusOr<Visit> Begin(int type, BorrowedFd place);
  Visit(Visit&&) = default;
  Visit& operator=(Visit&&) = delete;
  // Who is root of a user namespace alone cannot go back to the host's, and stays.
  ~Visit();

 private:
  Visit(int type, UniqueFd home) : type_(type), home_(std::move(home)) {}
  int type_;
  UniqueFd home_;
};

}  // namespace sandbox::ns
