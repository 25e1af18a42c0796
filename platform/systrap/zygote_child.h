// The zygote's side of its own birth: turns a fork of the sentry into a process that holds nothing but stub code.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/unique_fd.h"
#include "platform/api/call_input.h"

namespace sandbox::platform::systrap {

// Called in the child of fork; `socket` is its end of the request socket, `clock_page` as in PlatformOptions. Exits
// with a message on failure.
[[noreturn]] void BecomeZygote(int socket, const std::vector<sock_filter>& filter, const InputTable& inputs,
                               BorrowedFd clock_page);

}  // namespace sandbox::platform::systrap
