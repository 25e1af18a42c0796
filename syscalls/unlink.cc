// unlink(2), unlinkat(2), rmdir(2).
#include <fcntl.h>

#include "sentry/kernel/task.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysUnlinkat(Task& task, Fd dirfd, GuestStr path, int flags) {
  if (flags & ~AT_REMOVEDIR) return Err(EINVAL);
  const PathArg arg = TRY(ReadPathArg(task, dirfd, path));
  return flags & AT_REMOVEDIR ? RemoveDir(task, arg.base, arg.text) : Unlink(task, arg.base, arg.text);
}
SYSCALL_ROW(unlinkat, Lane::kShort, Support::kFull, SysUnlinkat, "");

Result<void> SysUnlink(Task& task, GuestStr path) { return SysUnlinkat(task, AtCwd(), path, 0); }
SYSCALL_ROW(unlink, Lane::kShort, Support::kFull, SysUnlink, "");

Result<void> SysRmdir(Task& task, GuestStr path) { return SysUnlinkat(task, AtCwd(), path, AT_REMOVEDIR); }
SYSCALL_ROW(rmdir, Lane::kShort, Support::kFull, SysRmdir, "");

}  // namespace
}  // namespace sandbox::syscalls
