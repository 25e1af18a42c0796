// rename(2), renameat(2), renameat2(2).
#include "sentry/kernel/task.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysRenameat2(Task& task, Fd old_dirfd, GuestStr old_path, Fd new_dirfd, GuestStr new_path,
                          uint32_t flags) {
  const PathArg from = TRY(ReadPathArg(task, old_dirfd, old_path));
  const PathArg to = TRY(ReadPathArg(task, new_dirfd, new_path));
  return Rename(task, from.base, from.text, to.base, to.text, flags);
}
SYSCALL_ROW(renameat2, Lane::kShort, Support::kFull, SysRenameat2, "");

Result<void> SysRenameat(Task& task, Fd old_dirfd, GuestStr old_path, Fd new_dirfd, GuestStr new_path) {
  return SysRenameat2(task, old_dirfd, old_path, new_dirfd, new_path, 0);
}
SYSCALL_ROW(renameat, Lane::kShort, Support::kFull, SysRenameat, "");

Result<void> SysRename(Task& task, GuestStr old_path, GuestStr new_path) {
  return SysRenameat2(task, AtCwd(), old_path, AtCwd(), new_path, 0);
}
SYSCALL_ROW(rename, Lane::kShort, Support::kFull, SysRename, "");

}  // namespace
}  // namespace sandbox::syscalls
