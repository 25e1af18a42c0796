// mkdir(2), mkdirat(2), mknod(2), mknodat(2).
#include "sentry/kernel/task.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysMkdirat(Task& task, Fd dirfd, GuestStr path, uint32_t mode) {
  const PathArg arg = TRY(ReadPathArg(task, dirfd, path));
  return MakeDir(task, arg.base, arg.text, mode, task.fs().umask());
}
SYSCALL_ROW(mkdirat, Lane::kShort, Support::kFull, SysMkdirat, "");

Result<void> SysMkdir(Task& task, GuestStr path, uint32_t mode) { return SysMkdirat(task, AtCwd(), path, mode); }
SYSCALL_ROW(mkdir, Lane::kShort, Support::kFull, SysMkdir, "");

Result<void> SysMknodat(Task& task, Fd dirfd, GuestStr path, uint32_t mode, uint32_t device) {
  // Before the path is looked at (Linux: may_mknod).
  const uint32_t type = mode & S_IFMT;
  if (type == S_IFDIR) return Err(EPERM);
  if (type != 0 && type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR && type != S_IFBLK) {
    return Err(EINVAL);
  }
  const PathArg arg = TRY(ReadPathArg(task, dirfd, path));
  return MakeNode(task, arg.base, arg.text, mode, device, task.fs().umask());
}
SYSCALL_ROW(mknodat, Lane::kShort, Support::kFull, SysMknodat, "");

Result<void> SysMknod(Task& task, GuestStr path, uint32_t mode, uint32_t device) {
  return SysMknodat(task, AtCwd(), path, mode, device);
}
SYSCALL_ROW(mknod, Lane::kShort, Support::kFull, SysMknod, "");

}  // namespace
}  // namespace sandbox::syscalls
