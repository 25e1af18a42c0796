// Record locks of fcntl(2), and flock(2).
#include "syscalls/file_locks.h"

#include <fcntl.h>
#include <sys/file.h>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/record_locks.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

bool IsOfd(int command) { return command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW; }

// Where the lock starts, from l_whence.
Result<int64_t> Origin(Task& task, FileDescription& file, int16_t whence) {
  switch (whence) {
    case SEEK_SET:
      return int64_t{0};
    case SEEK_CUR: {
      MutexLock lock(file.position_mutex());
      return int64_t{file.position()};
    }
    case SEEK_END:
      return static_cast<int64_t>(TRY(file.GetAttr(task)).size);
    default:
      return Err(EINVAL);
  }
}

// Linux: flock_to_posix_lock.
Result<RangeLock> ToRange(Task& task, const FileRef& file, const struct flock& in, bool ofd) {
  RangeLock range;
  int64_t start;
  if (__builtin_add_overflow(TRY(Origin(task, *file, in.l_whence)), int64_t{in.l_start}, &start)) return Err(EOVERFLOW);
  if (start < 0) return Err(EINVAL);
  range.start = start;
  range.end = kLockToEof;
  if (in.l_len > 0) {
    if (__builtin_add_overflow(start, int64_t{in.l_len}, &range.end)) return Err(EOVERFLOW);
  } else if (in.l_len < 0) {
    if (start + in.l_len < 0) return Err(EINVAL);
    range.start = start + in.l_len;
    range.end = start;
  }
  range.type = in.l_type == F_WRLCK ? LockType::kExclusive : LockType::kShared;
  range.owner = ofd ? static_cast<const void*>(file.get()) : &task.fds();
  range.pid = ofd ? -1 : task.tgid();
  return range;
}

Result<void> GetLock(Task& task, const FileRef& file, bool ofd, GuestAddr addr) {
  auto in = TRY(InPtr<struct flock>(addr).Read(task.memory()));
  if (ofd && in.l_pid != 0) return Err(EINVAL);
  if (in.l_type != F_RDLCK && in.l_type != F_WRLCK) return Err(EINVAL);
  const RangeLock wanted = TRY(ToRange(task, file, in, ofd));
  const auto held = file->locks().Conflicting(wanted);
  if (!held) {
    in.l_type = F_UNLCK;
  } else {
    in.l_type = held->type == LockType::kExclusive ? F_WRLCK : F_RDLCK;
    in.l_whence = SEEK_SET;
    in.l_start = held->start;
    in.l_len = held->end == kLockToEof ? 0 : held->end - held->start;
    in.l_pid = held->pid > 0 ? task.ShownPid(held->pid) : held->pid;
  }
  return OutPtr<struct flock>(addr).Write(task.memory(), in);
}

Result<void> SetLock(Task& task, const FileRef& file, bool ofd, bool wait, GuestAddr addr) {
  const auto in = TRY(InPtr<struct flock>(addr).Read(task.memory()));
  if (ofd && in.l_pid != 0) return Err(EINVAL);
  if (in.l_type != F_RDLCK && in.l_type != F_WRLCK && in.l_type != F_UNLCK) return Err(EINVAL);
  const RangeLock range = TRY(ToRange(task, file, in, ofd));
  RecordLocks& locks = file->locks();
  if (in.l_type == F_UNLCK) {
    locks.Clear(range.owner, range.start, range.end);
    return {};
  }
  if (in.l_type == F_RDLCK ? !file->readable() : !file->writable()) return Err(EBADF);
  return locks.Set(task, range, wait);
}

Result<void> SysFlock(Task& task, Fd fd, uint32_t operation) {
  const bool wait = !(operation & LOCK_NB);
  operation &= ~uint32_t{LOCK_NB};
  if (operation != LOCK_SH && operation != LOCK_EX && operation != LOCK_UN) return Err(EINVAL);
  const FileRef file = TRY(task.fds().Get(fd));
  if (operation == LOCK_UN) {
    file->locks().Unflock(file.get());
    return {};
  }
  const LockType type = (operation & LOCK_EX) ? LockType::kExclusive : LockType::kShared;
  return file->locks().Flock(task, file.get(), type, wait, task.tgid());
}
SYSCALL_ROW(flock, Lane::kMayBlock, Support::kFull, SysFlock, "");

}  // namespace

bool IsLockCommand(int command) {
  return command == F_GETLK || command == F_SETLK || command == F_SETLKW || IsOfd(command);
}

Result<void> LockCommand(Task& task, const FileRef& file, int command, GuestAddr addr) {
  const bool ofd = IsOfd(command);
  if (command == F_GETLK || command == F_OFD_GETLK) return GetLock(task, file, ofd, addr);
  return SetLock(task, file, ofd, command == F_SETLKW || command == F_OFD_SETLKW, addr);
}

}  // namespace sandbox::syscalls
