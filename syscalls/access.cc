// access(2), faccessat(2), faccessat2(2).
#include <fcntl.h>
#include <unistd.h>

#include "sentry/kernel/task.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysFaccessat2(Task& task, Fd dirfd, GuestStr path, int mode, int flags) {
  if (mode & ~(R_OK | W_OK | X_OK)) return Err(EINVAL);
  if (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Err(EINVAL);
  const Path found = TRY(WalkAt(task, dirfd, path, flags));
  return CheckPathAccess(task, found, mode, flags & AT_EACCESS);
}
SYSCALL_ROW(faccessat2, Lane::kShort, Support::kFull, SysFaccessat2, "");

Result<void> SysFaccessat(Task& task, Fd dirfd, GuestStr path, int mode) {
  return SysFaccessat2(task, dirfd, path, mode, 0);
}
SYSCALL_ROW(faccessat, Lane::kShort, Support::kFull, SysFaccessat, "");

Result<void> SysAccess(Task& task, GuestStr path, int mode) { return SysFaccessat2(task, AtCwd(), path, mode, 0); }
SYSCALL_ROW(access, Lane::kShort, Support::kFull, SysAccess, "");

}  // namespace
}  // namespace sandbox::syscalls
