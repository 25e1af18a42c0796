// truncate(2), ftruncate(2), fallocate(2).
#include <linux/falloc.h>
#include <sys/inotify.h>

#include "sentry/kernel/task.h"
#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysTruncate(Task& task, GuestStr path, int64_t length) {
  if (length < 0) return Err(EINVAL);
  return Truncate(task, TRY(WalkAt(task, AtCwd(), path, 0)), static_cast<uint64_t>(length));
}
SYSCALL_ROW(truncate, Lane::kMayBlock, Support::kFull, SysTruncate, "");

Result<void> SysFtruncate(Task& task, Fd fd, int64_t length) {
  if (length < 0) return Err(EINVAL);
  const FileRef file = TRY(task.fds().Get(fd));
  return TruncateFile(task, *file, static_cast<uint64_t>(length));
}
SYSCALL_ROW(ftruncate, Lane::kShort, Support::kFull, SysFtruncate, "");

// Linux: vfs_fallocate.
Result<void> SysFallocate(Task& task, Fd fd, int mode, int64_t offset, int64_t length) {
  const FileRef file = TRY(task.fds().Get(fd));
  if (offset < 0 || length <= 0) return Err(EINVAL);
  constexpr int kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE |
                         FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE | 0x80 /* FALLOC_FL_WRITE_ZEROES */;
  if (mode & ~kKnown) return Err(EOPNOTSUPP);
  if ((mode & FALLOC_FL_PUNCH_HOLE) && (mode & FALLOC_FL_ZERO_RANGE)) return Err(EOPNOTSUPP);
  if ((mode & FALLOC_FL_PUNCH_HOLE) && !(mode & FALLOC_FL_KEEP_SIZE)) return Err(EOPNOTSUPP);
  if ((mode & FALLOC_FL_COLLAPSE_RANGE) && mode != FALLOC_FL_COLLAPSE_RANGE) return Err(EINVAL);
  if ((mode & FALLOC_FL_INSERT_RANGE) && mode != FALLOC_FL_INSERT_RANGE) return Err(EINVAL);
  if ((mode & FALLOC_FL_UNSHARE_RANGE) && (mode & ~(FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE))) return Err(EINVAL);
  if (!file->writable()) return Err(EBADF);
  const Attr attr = TRY(file->GetAttr(task));
  if (attr.type() == S_IFIFO) return Err(ESPIPE);
  if (attr.IsDir()) return Err(EISDIR);
  if (!attr.IsRegular() && attr.type() != S_IFBLK) return Err(ENODEV);
  int64_t end;
  if (__builtin_add_overflow(offset, length, &end)) return Err(EFBIG);
  TRY(file->Allocate(task, mode, offset, length));
  NotifyPath(file->path(), IN_MODIFY);
  return {};
}
SYSCALL_ROW(fallocate, Lane::kShort, Support::kFull, SysFallocate, "");

}  // namespace
}  // namespace sandbox::syscalls
