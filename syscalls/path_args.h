// Path arguments of system calls: dirfd, path and AT_* flags, resolved.
#pragma once

#include <string>

#include "base/result.h"
#include "sentry/core/guest_memory.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/fd_table.h"
#include "sentry/vfs/walk.h"

namespace sandbox::syscalls {

// A path read from the guest and where it starts. An absolute path does not look at `dirfd` (openat(2)).
struct PathArg {
  std::string text;
  WalkBase base;
};
// EFAULT, ENAMETOOLONG; EBADF for a relative path and a bad descriptor.
Result<PathArg> ReadPathArg(Task& task, Fd dirfd, GuestStr path);
inline Fd AtCwd() { return Fd(-100); }  // AT_FDCWD

// The object a call names. `flags`: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH ("" and, since Linux 6.11, a null pointer name
// the descriptor's object itself); other bits are the caller's to check.
Result<Path> WalkAt(Task& task, Fd dirfd, GuestStr path, int flags);
// The same with the last symbolic link followed only for AT_SYMLINK_FOLLOW (linkat).
Result<Path> WalkAtNoFollow(Task& task, Fd dirfd, GuestStr path, int flags);
// The object behind a descriptor, O_PATH ones included; AT_FDCWD is the working directory.
Result<Path> PathOfFd(Task& task, Fd fd);

}  // namespace sandbox::syscalls
