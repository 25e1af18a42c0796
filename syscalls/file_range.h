// What copy_file_range(2) and the cloning ioctls ask of both files.
#pragma once

#include "sentry/kernel/task.h"
#include "sentry/vfs/file.h"

namespace sandbox::syscalls {

// EISDIR, EINVAL for what is no regular file, EBADF for access (Linux: generic_file_rw_checks).
Result<void> CheckFileRange(Task& task, FileDescription& in, FileDescription& out);

}  // namespace sandbox::syscalls
