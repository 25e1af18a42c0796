// fsync(2), fdatasync(2), sync(2), syncfs(2), sync_file_range(2), fadvise64(2), readahead(2).
#include <fcntl.h>

#include <set>

#include "sentry/kernel/task.h"
#include "sentry/vfs/dentry.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysFsync(Task& task, Fd fd) { return TRY(task.fds().Get(fd))->Sync(task, false); }
SYSCALL_ROW(fsync, Lane::kShort, Support::kFull, SysFsync, "");

Result<void> SysFdatasync(Task& task, Fd fd) { return TRY(task.fds().Get(fd))->Sync(task, true); }
SYSCALL_ROW(fdatasync, Lane::kShort, Support::kFull, SysFdatasync, "");

Result<void> SysSync(Task& task) {
  std::set<FileSystem*> done;
  for (const MountInfo& info : task.mounts()->List()) {
    if (done.insert(info.mount->fs().get()).second) (void)info.mount->fs()->Sync(task);  // sync(2) cannot fail
  }
  return {};
}
SYSCALL_ROW(sync, Lane::kShort, Support::kFull, SysSync, "");

Result<void> SysSyncfs(Task& task, Fd fd) {
  const FileRef file = TRY(task.fds().Get(fd));
  const InodeRef inode = file->path().inode();
  const RefPtr<FileSystem> fs = inode != nullptr ? inode->fs() : nullptr;
  return fs != nullptr ? fs->Sync(task) : Ok();
}
SYSCALL_ROW(syncfs, Lane::kShort, Support::kFull, SysSyncfs, "");

Result<void> SysSyncFileRange(Task& task, Fd fd, int64_t offset, int64_t length, uint32_t flags) {
  constexpr uint32_t kFlags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const FileRef file = TRY(task.fds().Get(fd));
  int64_t end;
  if ((flags & ~kFlags) || offset < 0 || length < 0 || __builtin_add_overflow(offset, length, &end)) return Err(EINVAL);
  const Attr attr = TRY(file->GetAttr(task));
  if (!attr.IsRegular() && !attr.IsDir() && !attr.IsSymlink() && attr.type() != S_IFBLK) return Err(ESPIPE);
  // More than was asked for, which the caller cannot tell.
  if (flags == 0 || !attr.IsRegular()) return {};
  const auto synced = file->Sync(task, true);
  return synced.Is(EINVAL) ? Result<void>() : synced;  // a file that has nothing to write back
}
SYSCALL_ROW(sync_file_range, Lane::kShort, Support::kFull, SysSyncFileRange, "");

Result<void> SysFadvise64(Task& task, Fd fd, int64_t offset, int64_t length, int advice) {
  const FileRef file = TRY(task.fds().Get(fd));
  const Attr attr = TRY(file->GetAttr(task));
  if (attr.type() == S_IFIFO) return Err(ESPIPE);
  if (length < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE) return Err(EINVAL);
  return file->Advise(task, offset, length, advice);
}
SYSCALL_ROW(fadvise64, Lane::kShort, Support::kFull, SysFadvise64, "");

Result<void> SysReadahead(Task& task, Fd fd, int64_t offset, uint64_t count) {
  const FileRef file = TRY(task.fds().Get(fd));
  if (!file->readable()) return Err(EBADF);
  if (!TRY(file->GetAttr(task)).IsRegular()) return Err(EINVAL);
  return file->Advise(task, offset, static_cast<int64_t>(std::min<uint64_t>(count, INT64_MAX)), POSIX_FADV_WILLNEED);
}
SYSCALL_ROW(readahead, Lane::kShort, Support::kFull, SysReadahead, "");

}  // namespace
}  // namespace sandbox::syscalls
