// Arguments of clone(2) and clone3(2), decoded.
#pragma once

#include <cstdint>
#include <vector>

#include "base/guest_addr.h"

namespace sandbox {

struct CloneArgs {
  uint64_t flags = 0;  // CLONE_*, without the exit signal
  int exit_signal = 0;
  GuestAddr stack;  // initial stack pointer; null = the caller's
  GuestAddr parent_tid, child_tid, pidfd;
  uint64_t tls = 0;
  std::vector<int32_t> set_tid;
};

}  // namespace sandbox
