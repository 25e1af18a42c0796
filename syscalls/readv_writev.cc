// readv(2), writev(2), preadv(2), pwritev(2), preadv2(2), pwritev2(2).
#include <linux/fs.h>

#include "sentry/kernel/task.h"
#include "sentry/vfs/io.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// Both directions take what only one of them acts on (Linux: kiocb_set_rw_flags).
constexpr int kFlags = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND | RWF_NOWAIT | kRwfNoAppend;

Result<void> CheckFlags(int flags) {
  if (flags & ~kFlags) return Err(EOPNOTSUPP);
  return (flags & RWF_APPEND) && (flags & kRwfNoAppend) ? Err(EINVAL) : Result<void>();
}

// On 64-bit the high half is shifted out (Linux: pos_from_hilo).
int64_t Position(uint64_t low, uint64_t) { return static_cast<int64_t>(low); }

Result<size_t> Readv(Task& task, Fd fd, GuestAddr iov, uint64_t count, std::optional<int64_t> offset, int flags) {
  const FileRef file = TRY(task.fds().Get(fd));
  if (offset && !file->seekable()) return Err(ESPIPE);
  if (!file->readable()) return Err(EBADF);
  auto to = TRY(IoSequence::GuestIovecs(task.memory(), iov, count));
  if (to.empty()) return size_t{0};
  TRY(CheckFlags(flags));
  return offset ? ReadFileAt(task, *file, to, *offset, flags) : ReadFile(task, *file, to, flags);
}

Result<size_t> Writev(Task& task, Fd fd, GuestAddr iov, uint64_t count, std::optional<int64_t> offset, int flags) {
  const FileRef file = TRY(task.fds().Get(fd));
  if (offset && !file->seekable()) return Err(ESPIPE);
  if (!file->writable()) return Err(EBADF);
  auto from = TRY(IoSequence::GuestIovecs(task.memory(), iov, count));
  if (from.empty()) return size_t{0};
  TRY(CheckFlags(flags));
  const size_t written =
      TRY(offset ? WriteFileAt(task, *file, from, *offset, flags) : WriteFile(task, *file, from, flags));
  // What has nothing to sync has nothing to fail.
  if (flags & (RWF_SYNC | RWF_DSYNC)) {
    if (const auto synced = file->Sync(task, !(flags & RWF_SYNC)); !synced.ok() && !synced.Is(EINVAL))
      return synced.error();
  }
  return written;
}

Result<size_t> SysReadv(Task& task, Fd fd, InArray<2, sizeof(GuestIovec)> iov, uint64_t count) {
  return Readv(task, fd, iov, count, {}, 0);
}
SYSCALL_ROW(readv, Lane::kMayBlock, Support::kFull, SysReadv, "");

Result<size_t> SysWritev(Task& task, Fd fd, InArray<2, sizeof(GuestIovec)> iov, uint64_t count) {
  return Writev(task, fd, iov, count, {}, 0);
}
SYSCALL_ROW(writev, Lane::kMayBlock, Support::kFull, SysWritev, "");

Result<size_t> SysPreadv(Task& task, Fd fd, InArray<2, sizeof(GuestIovec)> iov, uint64_t count, uint64_t low,
                         uint64_t high) {
  const int64_t offset = Position(low, high);
  if (offset < 0) return Err(EINVAL);
  return Readv(task, fd, iov, count, offset, 0);
}
SYSCALL_ROW(preadv, Lane::kShort, Support::kFull, SysPreadv, "");

Result<size_t> SysPwritev(Task& task, Fd fd, InArray<2, sizeof(GuestIovec)> iov, uint64_t count, uint64_t low,
                          uint64_t high) {
  const int64_t offset = Position(low, high);
  if (offset < 0) return Err(EINVAL);
  return Writev(task, fd, iov, count, offset, 0);
}
SYSCALL_ROW(pwritev, Lane::kShort, Support::kFull, SysPwritev, "");

// Offset -1: at the file position (preadv2(2)).
Result<size_t> SysPreadv2(Task& task, Fd fd, InArray<2, sizeof(GuestIovec)> iov, uint64_t count, uint64_t low,
                          uint64_t high, int flags) {
  const int64_t offset = Position(low, high);
  if (offset < -1) return Err(EINVAL);
  return Readv(task, fd, iov, count, offset == -1 ? std::nullopt : std::optional(offset), flags);
}
SYSCALL_ROW(preadv2, Lane::kMayBlock, Support::kFull, SysPreadv2, "");

Result<size_t> SysPwritev2(Task& task, Fd fd, InArray<2, sizeof(GuestIovec)> iov, uint64_t count, uint64_t low,
                           uint64_t high, int flags) {
  const int64_t offset = Position(low, high);
  if (offset < -1) return Err(EINVAL);
  return Writev(task, fd, iov, count, offset == -1 ? std::nullopt : std::optional(offset), flags);
}
SYSCALL_ROW(pwritev2, Lane::kMayBlock, Support::kFull, SysPwritev2, "");

}  // namespace
}  // namespace sandbox::syscalls
