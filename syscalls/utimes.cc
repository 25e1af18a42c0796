// utime(2), utimes(2), futimesat(2), utimensat(2).
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <utime.h>

#include <array>

#include "sentry/kernel/task.h"
#include "sentry/vfs/anonymous.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

struct Times {
  TimeChange atime, mtime;
};

Times BothNow() { return {{.now = true}, {.now = true}}; }

Result<TimeChange> FromTimespec(const timespec& time) {
  TimeChange change;
  if (time.tv_nsec == UTIME_NOW) {
    change.now = true;
  } else if (time.tv_nsec != UTIME_OMIT) {
    if (time.tv_nsec < 0 || time.tv_nsec > 999'999'999) return Err(EINVAL);
    change.time = FileTime{time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
  }
  return change;
}

Result<TimeChange> FromTimeval(const timeval& time) {
  if (time.tv_usec < 0 || time.tv_usec > 999'999) return Err(EINVAL);
  TimeChange change;
  change.time = FileTime{time.tv_sec, static_cast<uint32_t>(time.tv_usec) * 1000};
  return change;
}

using TimespecPair = std::array<timespec, 2>;
using TimevalPair = std::array<timeval, 2>;

Result<void> SysUtimensat(Task& task, Fd dirfd, GuestStr path, InPtr<TimespecPair> times, int flags) {
  Times change = BothNow();
  if (!times.IsNull()) {
    const TimespecPair pair = TRY(times.Read(task.memory()));
    // utimensat(2): both omitted succeeds without looking at the rest.
    if (pair[0].tv_nsec == UTIME_OMIT && pair[1].tv_nsec == UTIME_OMIT) return {};
    change = {TRY(FromTimespec(pair[0])), TRY(FromTimespec(pair[1]))};
  }
  if (path.IsNull() && dirfd != AtCwd()) {  // futimens(3)
    if (flags != 0) return Err(EINVAL);
    return ChangeTimes(task, PathOfFile(TRY(task.fds().Get(dirfd))), change.atime, change.mtime);
  }
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Err(EINVAL);
  return ChangeTimes(task, TRY(WalkAt(task, dirfd, path, flags)), change.atime, change.mtime);
}
SYSCALL_ROW(utimensat, Lane::kShort, Support::kFull, SysUtimensat, "");

Result<void> SysFutimesat(Task& task, Fd dirfd, GuestStr path, InPtr<TimevalPair> times) {
  Times change = BothNow();
  if (!times.IsNull()) {
    const TimevalPair pair = TRY(times.Read(task.memory()));
    change = {TRY(FromTimeval(pair[0])), TRY(FromTimeval(pair[1]))};
  }
  const Path target =
      path.IsNull() && dirfd != AtCwd() ? PathOfFile(TRY(task.fds().Get(dirfd))) : TRY(WalkAt(task, dirfd, path, 0));
  return ChangeTimes(task, target, change.atime, change.mtime);
}
SYSCALL_ROW(futimesat, Lane::kShort, Support::kFull, SysFutimesat, "");

Result<void> SysUtimes(Task& task, GuestStr path, InPtr<TimevalPair> times) {
  return SysFutimesat(task, AtCwd(), path, times);
}
SYSCALL_ROW(utimes, Lane::kShort, Support::kFull, SysUtimes, "");

Result<void> SysUtime(Task& task, GuestStr path, InPtr<utimbuf> times) {
  Times change = BothNow();
  if (!times.IsNull()) {
    const utimbuf pair = TRY(times.Read(task.memory()));
    change.atime = {.time = FileTime{pair.actime, 0}};
    change.mtime = {.time = FileTime{pair.modtime, 0}};
  }
  return ChangeTimes(task, TRY(WalkAt(task, AtCwd(), path, 0)), change.atime, change.mtime);
}
SYSCALL_ROW(utime, Lane::kShort, Support::kFull, SysUtime, "");

}  // namespace
}  // namespace sandbox::syscalls
