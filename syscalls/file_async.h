// The part of fcntl(2) that ends in signals: SIGIO and its owner, leases, directory notifications.
#pragma once

#include "base/result.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/file.h"

namespace sandbox::syscalls {

// F_SETFL's new flags; turning O_ASYNC on or off takes effect. `fd` is what signals will name.
Result<void> ChangeFlags(Task& task, const FileRef& file, Fd fd, int flags);
// F_GETOWN, F_SETOWN, F_GETOWN_EX, F_SETOWN_EX, F_GETOWNER_UIDS, F_GETSIG, F_SETSIG, F_GETLEASE,
// F_SETLEASE, F_NOTIFY. EINVAL for any other command.
Result<int64_t> AsyncCommand(Task& task, const FileRef& file, Fd fd, int command, uint64_t arg);
// F_SETOWN and its ioctl(2) form: > 0 a process, < 0 a process group, 0 nobody. ESRCH, EINVAL.
Result<void> SetOwner(Task& task, FileDescription& file, int32_t who);
int32_t GetOwner(Task& task, FileDescription& file);

}  // namespace sandbox::syscalls
