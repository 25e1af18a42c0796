// read(2), write(2), pread64(2), pwrite64(2).
#include "sentry/kernel/task.h"
#include "sentry/vfs/io.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// Linux: access_ok, then rw_verify_area. A count that leaves the address space faults before anything is looked at.
Result<void> CheckCount(GuestAddr buffer, uint64_t count) {
  uint64_t end;
  if (__builtin_add_overflow(buffer.value(), count, &end) || end > uint64_t{1} << 63) return Err(EFAULT);
  return {};
}

// The end of a positioned transfer must be a file offset.
Result<void> CheckEnd(int64_t offset, uint64_t count) {
  int64_t end;
  if (__builtin_add_overflow(offset, static_cast<int64_t>(count), &end)) return Err(EINVAL);
  return {};
}

Result<size_t> SysRead(Task& task, Fd fd, GuestAddr buffer, uint64_t count) {
  const FileRef file = TRY(task.fds().Get(fd));
  if (!file->readable()) return Err(EBADF);
  TRY(CheckCount(buffer, count));
  auto to = IoSequence::Guest(task.memory(), buffer, count);
  return ReadFile(task, *file, to);
}
SYSCALL_ROW(read, Lane::kMayBlock, Support::kFull, SysRead, "");

Result<size_t> SysWrite(Task& task, Fd fd, InArray<2> buffer, uint64_t count) {
  const FileRef file = TRY(task.fds().Get(fd));
  if (!file->writable()) return Err(EBADF);
  TRY(CheckCount(buffer, count));
  auto from = IoSequence::Guest(task.memory(), buffer, count);
  return WriteFile(task, *file, from);
}
SYSCALL_ROW(write, Lane::kMayBlock, Support::kFull, SysWrite, "");

Result<size_t> SysPread64(Task& task, Fd fd, GuestAddr buffer, uint64_t count, int64_t offset) {
  if (offset < 0) return Err(EINVAL);
  const FileRef file = TRY(task.fds().Get(fd));
  TRY(CheckCount(buffer, count));
  TRY(CheckEnd(offset, count));
  auto to = IoSequence::Guest(task.memory(), buffer, count);
  return ReadFileAt(task, *file, to, offset);
}
SYSCALL_ROW(pread64, Lane::kShort, Support::kFull, SysPread64, "");

Result<size_t> SysPwrite64(Task& task, Fd fd, InArray<2> buffer, uint64_t count, int64_t offset) {
  if (offset < 0) return Err(EINVAL);
  const FileRef file = TRY(task.fds().Get(fd));
  TRY(CheckCount(buffer, count));
  TRY(CheckEnd(offset, count));
  auto from = IoSequence::Guest(task.memory(), buffer, count);
  return WriteFileAt(task, *file, from, offset);
}
SYSCALL_ROW(pwrite64, Lane::kShort, Support::kFull, SysPwrite64, "");

}  // namespace
}  // namespace sandbox::syscalls
