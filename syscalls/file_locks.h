// fcntl(2)'s record lock commands.
#pragma once

#include "base/result.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/file.h"

namespace sandbox::syscalls {

// F_GETLK, F_SETLK, F_SETLKW and their F_OFD_ forms; `addr` is a struct flock.
bool IsLockCommand(int command);
Result<void> LockCommand(Task& task, const FileRef& file, int command, GuestAddr addr);

}  // namespace sandbox::syscalls
