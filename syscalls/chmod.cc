// chmod(2), fchmod(2), fchmodat(2), fchmodat2(2), chown(2), fchown(2), lchown(2), fchownat(2).
#include <fcntl.h>

#include "sentry/kernel/task.h"
#include "sentry/vfs/anonymous.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

namespace sandbox::syscalls {
namespace {

Result<void> SysFchmodat2(Task& task, Fd dirfd, GuestStr path, uint32_t mode, uint32_t flags) {
  if (flags & ~uint32_t{AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH}) return Err(EINVAL);
  return ChangeMode(task, TRY(WalkAt(task, dirfd, path, static_cast<int>(flags))), mode);
}
SYSCALL_ROW(fchmodat2, Lane::kShort, Support::kFull, SysFchmodat2, "");

Result<void> SysFchmodat(Task& task, Fd dirfd, GuestStr path, uint32_t mode) {
  return SysFchmodat2(task, dirfd, path, mode, 0);
}
SYSCALL_ROW(fchmodat, Lane::kShort, Support::kFull, SysFchmodat, "");

Result<void> SysChmod(Task& task, GuestStr path, uint32_t mode) { return SysFchmodat2(task, AtCwd(), path, mode, 0); }
SYSCALL_ROW(chmod, Lane::kShort, Support::kFull, SysChmod, "");

Result<void> SysFchmod(Task& task, Fd fd, uint32_t mode) {
  return ChangeMode(task, PathOfFile(TRY(task.fds().Get(fd))), mode);
}
SYSCALL_ROW(fchmod, Lane::kShort, Support::kFull, SysFchmod, "");

// -1 leaves an id alone; EINVAL for ids that mean nothing to the caller.
Result<void> ChangeOwnerAs(Task& task, const Path& path, uint32_t uid, uint32_t gid) {
  std::optional<uint32_t> owner, group;
  if (uid != UINT32_MAX) owner = TRY(task.creds().ActualUid(uid));
  if (gid != UINT32_MAX) group = TRY(task.creds().ActualGid(gid));
  return ChangeOwner(task, path, owner, group);
}

Result<void> SysFchownat(Task& task, Fd dirfd, GuestStr path, uint32_t uid, uint32_t gid, int flags) {
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Err(EINVAL);
  return ChangeOwnerAs(task, TRY(WalkAt(task, dirfd, path, flags)), uid, gid);
}
SYSCALL_ROW(fchownat, Lane::kShort, Support::kFull, SysFchownat, "");

Result<void> SysChown(Task& task, GuestStr path, uint32_t uid, uint32_t gid) {
  return SysFchownat(task, AtCwd(), path, uid, gid, 0);
}
SYSCALL_ROW(chown, Lane::kShort, Support::kFull, SysChown, "");

Result<void> SysLchown(Task& task, GuestStr path, uint32_t uid, uint32_t gid) {
  return SysFchownat(task, AtCwd(), path, uid, gid, AT_SYMLINK_NOFOLLOW);
}
SYSCALL_ROW(lchown, Lane::kShort, Support::kFull, SysLchown, "");

Result<void> SysFchown(Task& task, Fd fd, uint32_t uid, uint32_t gid) {
  return ChangeOwnerAs(task, PathOfFile(TRY(task.fds().Get(fd))), uid, gid);
}
SYSCALL_ROW(fchown, Lane::kShort, Support::kFull, SysFchown, "");

}  // namespace
}  // namespace sandbox::syscalls
