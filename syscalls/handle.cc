// name_to_handle_at(2), open_by_handle_at(2).
#include <fcntl.h>

#include "sentry/kernel/task.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// No file system of ours exports handles, which Linux answers with EOPNOTSUPP after its checks.
Result<void> SysNameToHandleAt(Task& task, Fd dirfd, GuestStr path, GuestAddr handle, GuestAddr mount_id, int flags) {
  if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) return Err(EINVAL);
  TRY(WalkAtNoFollow(task, dirfd, path, flags));
  return Err(EOPNOTSUPP);
}
SYSCALL_ROW(name_to_handle_at, Lane::kShort, Support::kUnsupported, SysNameToHandleAt, "EOPNOTSUPP: no file system exports handles");

SYSCALL_UNSUPPORTED(open_by_handle_at, EPERM, "needs a capability of the initial namespace");

}  // namespace
}  // namespace sandbox::syscalls
