// file_getattr(2), file_setattr(2) of Linux 6.17: inode flags, as chattr(1) sets them. No file system of ours has any.
#include <fcntl.h>

#include "sentry/kernel/task.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

#ifndef __NR_file_getattr
#define __NR_file_getattr 468
#define __NR_file_setattr 469
#endif

namespace sandbox::syscalls {
namespace {

constexpr uint64_t kFirstVersion = 24;  // struct file_attr

Result<void> Check(uint64_t size, uint32_t flags) {
  if (flags & ~uint32_t{AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH}) return Err(EINVAL);
  if (size > kPageSize) return Err(E2BIG);
  return size < kFirstVersion ? Err(EINVAL) : Result<void>();
}

Result<void> SysFileGetattr(Task& task, Fd dirfd, GuestStr path, GuestAddr, uint64_t size, uint32_t flags) {
  TRY(Check(size, flags));
  TRY(WalkAt(task, dirfd, path, static_cast<int>(flags)));
  return Err(EOPNOTSUPP);
}
SYSCALL_ROW(file_getattr, Lane::kShort, Support::kUnsupported, SysFileGetattr, "EOPNOTSUPP: files have no flags");

Result<void> SysFileSetattr(Task& task, Fd dirfd, GuestStr path, GuestAddr attr, uint64_t size, uint32_t flags) {
  TRY(Check(size, flags));
  char first;
  TRY(task.memory().Read(attr, &first, 1));
  TRY(WalkAt(task, dirfd, path, static_cast<int>(flags)));
  return Err(EOPNOTSUPP);
}
SYSCALL_ROW(file_setattr, Lane::kShort, Support::kUnsupported, SysFileSetattr, "EOPNOTSUPP: files have no flags");

}  // namespace
}  // namespace sandbox::syscalls
