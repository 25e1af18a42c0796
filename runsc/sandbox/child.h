// Starting our own long-lived processes (sentry, gofer) in namespaces of their own.
#pragma once

#include <sys/types.h>

#include <functional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/ns/userns.h"

namespace sandbox {

struct ChildOptions {
  const char* name;    // shown by ps
  int namespaces = 0;  // CLONE_NEW*, made for the child
  // Existing ones for it to be in: CLONE_NEW* and a descriptor of the namespace. In a user namespace it is root there.
  std::vector<std::pair<int, UniqueFd>> join;
  // With CLONE_NEWUSER: the host's ids in it. The child takes the first of each.
  std::vector<ns::IdMap> uid_map, gid_map;
  // Descriptors the child gets, as (ours, number in the child); 0, 1 and 2 are inherited unless they are replaced here,
  // everything else is closed.
  std::vector<std::pair<BorrowedFd, int>> fds;
  bool die_with_parent = true;
  // Called with the child's pid before it runs anything: puts it into its cgroup.
  std::function<absl::Status(pid_t)> place;
};

// Forks a child that runs `main` and exits with its result. It is in a session of its own, so that the terminal's
// signals reach only runsc. Not exec'ed: a role of the same binary needs no second copy of its pages, and works when
// the binary's file is not readable by the child's ids.
absl::StatusOr<pid_t> StartChild(const ChildOptions& options, const std::function<int()>& main);

}  // namespace sandbox
