// Timeouts as the waiting calls take them (poll, select, epoll, recvmmsg …), and the signal mask some carry along.
#pragma once

#include <sys/time.h>
#include <time.h>

#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"

namespace sandbox::syscalls {

// EINVAL for negative seconds or nanoseconds out of range (Linux: poll_select_set_timeout).
Result<int64_t> TimespecToNs(const timespec& time);
// Null pointer = no deadline.
Result<Deadline> ReadDeadline(Task& task, GuestAddr timespec_ptr);
// Writes what is left of the wait back. Linux ignores a fault here.
void WriteRemainingTimespec(Task& task, GuestAddr to, const Deadline& deadline);
void WriteRemainingTimeval(Task& task, GuestAddr to, const Deadline& deadline);

// Installs the mask at `set` (null = none) until the call returns or, when a signal ended the wait, until its handler
// was set up (Linux: set_user_sigmask, set_restore_sigmask). EINVAL for a wrong size, EFAULT.
Result<void> ApplyWaitMask(Task& task, GuestAddr set, uint64_t size);

}  // namespace sandbox::syscalls
