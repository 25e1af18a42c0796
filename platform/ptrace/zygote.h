// The zygote: a process that owns nothing but the stub pages and one socket. Every fresh guest process is a fork of
// it. It is started while the sentry is still single threaded, and waits in the stub page to be attached.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox::platform::ptrace {

struct Zygote {
  pid_t pid = -1;
  UniqueFd send;     // descriptors for guest processes go in here …
  UniqueFd receive;  // … and this is our own hold on the end they read, to take back what none of them took
};

// The child has no descriptors of ours, no capabilities, no_new_privs, the stub filter, a session of its own, and
// every signal blocked; it dies with the calling thread until it is attached. Its exit signal is 0, so that nobody's
// wait(2) without __WALL sees it or its children.
Result<Zygote> StartZygote();

}  // namespace sandbox::platform::ptrace
