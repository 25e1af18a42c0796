// The zygote's side of its own birth: turns a fork of the sentry into a process that holds nothing but stub code.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/unique_fd.h"
#include "platform/api/call_input.h"

namespace sandbox::platform::systrap {

struct ZygoteFds {
  BorrowedFd socket;                 // its end of the request socket
  BorrowedFd clock_page, host_proc;  // as in PlatformOptions
};

// Called in the child of fork. Exits with a message on failure.
[[noreturn]] void BecomeZygote(const ZygoteFds& fds, const std::vector<sock_filter>& filter, const InputTable& inputs);

}  // namespace sandbox::platform::systrap
