// open(2), openat(2), openat2(2), creat(2), close(2), close_range(2).
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <sched.h>

#include <array>
#include <cstring>

#include "sentry/kernel/task.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr uint64_t kValidFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
                                 O_DSYNC | O_ASYNC | O_DIRECT | 0100000 /* O_LARGEFILE */ | O_DIRECTORY | O_NOFOLLOW |
                                 O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
constexpr uint64_t kValidResolve =
    RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;

// Linux: build_open_flags, for openat2's strict and open's lenient rules.
Result<OpenOptions> BuildOptions(Task& task, const open_how& how) {
  if (how.flags & ~kValidFlags) return Err(EINVAL);
  if (how.resolve & ~kValidResolve) return Err(EINVAL);
  if ((how.resolve & RESOLVE_BENEATH) && (how.resolve & RESOLVE_IN_ROOT)) return Err(EINVAL);
  uint64_t flags = how.flags;
  const bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
  if (creates ? (how.mode & ~uint64_t{07777}) != 0 : how.mode != 0) return Err(EINVAL);
  if ((flags & (O_DIRECTORY | O_CREAT)) == (O_DIRECTORY | O_CREAT)) return Err(EINVAL);
  constexpr uint64_t kTmpfileBit = O_TMPFILE & ~O_DIRECTORY;
  if (flags & kTmpfileBit) {
    if (!(flags & O_DIRECTORY) || (flags & O_ACCMODE) == O_RDONLY) return Err(EINVAL);
  }
  if (flags & O_PATH) {
    if (flags & ~uint64_t{O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | 0100000}) return Err(EINVAL);
  }
  // The cached-only mode cannot promise not to block, so it always asks for the normal way (openat2(2): EAGAIN).
  if (how.resolve & RESOLVE_CACHED) return Err(EAGAIN);
  OpenOptions options;
  options.flags = static_cast<int>(flags);
  options.mode = static_cast<uint32_t>(how.mode);
  options.umask = task.fs().umask();
  options.resolve = how.resolve;
  return options;
}

Result<Fd> OpenAndInstall(Task& task, Fd dirfd, GuestStr path, const OpenOptions& options) {
  PathArg arg = TRY(ReadPathArg(task, dirfd, path));
  // Within a scope even an absolute path starts at the descriptor.
  if (options.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) arg.base = TRY(task.WalkFrom(dirfd));
  FileRef file = TRY(Open(task, arg.base, arg.text, options));
  return task.fds().Install(task, std::move(file), options.flags & O_CLOEXEC);
}

Result<Fd> SysOpenat(Task& task, Fd dirfd, GuestStr path, int flags, uint32_t mode) {
  // open(2) ignores what it does not know (Linux: build_open_how).
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags) & kValidFlags;
  if (how.flags & O_PATH) how.flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if ((how.flags & O_CREAT) || (how.flags & O_TMPFILE & ~O_DIRECTORY)) how.mode = mode & 07777;
  how.flags |= how.flags & O_PATH ? 0 : 0100000;  // force_o_largefile on 64 bit
  return OpenAndInstall(task, dirfd, path, TRY(BuildOptions(task, how)));
}
SYSCALL_ROW(openat, Lane::kShort, Support::kFull, SysOpenat, "");

Result<Fd> SysOpen(Task& task, GuestStr path, int flags, uint32_t mode) {
  return SysOpenat(task, AtCwd(), path, flags, mode);
}
SYSCALL_ROW(open, Lane::kShort, Support::kFull, SysOpen, "");

Result<Fd> SysCreat(Task& task, GuestStr path, uint32_t mode) {
  return SysOpenat(task, AtCwd(), path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
SYSCALL_ROW(creat, Lane::kShort, Support::kFull, SysCreat, "");

// An extensible structure of `size` bytes (Linux: copy_struct_from_user): E2BIG for non-zero bytes we do not know.
Result<open_how> ReadHow(Task& task, GuestAddr addr, uint64_t size) {
  constexpr size_t kFirstVersion = 24;
  if (size < kFirstVersion) return Err(EINVAL);
  if (size > kPageSize) return Err(E2BIG);
  std::array<char, kPageSize> bytes = {};
  TRY(task.memory().Read(addr, bytes.data(), size));
  for (size_t i = sizeof(open_how); i < size; ++i) {
    if (bytes[i] != 0) return Err(E2BIG);
  }
  open_how how;
  std::memcpy(&how, bytes.data(), sizeof(how));
  return how;
}

Result<Fd> SysOpenat2(Task& task, Fd dirfd, GuestStr path, GuestAddr how_addr, uint64_t size) {
  const open_how how = TRY(ReadHow(task, how_addr, size));
  return OpenAndInstall(task, dirfd, path, TRY(BuildOptions(task, how)));
}
SYSCALL_ROW(openat2, Lane::kShort, Support::kPartial, SysOpenat2, "RESOLVE_CACHED always gives EAGAIN");

Result<void> SysClose(Task& task, Fd fd) {
  auto result = task.fds().Close(task, fd);
  // close(2): the descriptor is gone, so a restart would hit another file.
  if (!result.ok() && result.error().value() >= kErestartsys) return Err(EINTR);
  return result;
}
SYSCALL_ROW(close, Lane::kShort, Support::kFull, SysClose, "");

Result<void> SysCloseRange(Task& task, uint32_t first, uint32_t last, uint32_t flags) {
  if (flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) return Err(EINVAL);
  if (first > last) return Err(EINVAL);
  if (flags & CLOSE_RANGE_UNSHARE) TRY(task.Unshare(CLONE_FILES));
  return task.fds().CloseRange(task, first, last, flags & CLOSE_RANGE_CLOEXEC);
}
SYSCALL_ROW(close_range, Lane::kShort, Support::kFull, SysCloseRange, "");

}  // namespace
}  // namespace sandbox::syscalls
