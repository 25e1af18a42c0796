#include "syscalls/path_args.h"

#include <fcntl.h>

#include "sentry/vfs/anonymous.h"

namespace sandbox::syscalls {
namespace {

Result<Path> WalkFlagged(Task& task, Fd dirfd, GuestStr path, bool follow, bool empty_ok) {
  std::string text;
  if (!(empty_ok && path.IsNull())) text = TRY(path.ReadPath(task.memory()));
  if (text.empty()) {
    if (!empty_ok) return Err(ENOENT);
    return PathOfFd(task, dirfd);
  }
  WalkOptions options;
  options.follow_last = follow;
  if (text.front() == '/') return Walk(task, task.WalkFromCwd(), text, options);
  return Walk(task, TRY(task.WalkFrom(dirfd)), text, options);
}

}  // namespace

Result<PathArg> ReadPathArg(Task& task, Fd dirfd, GuestStr path) {
  PathArg arg;
  arg.text = TRY(path.ReadPath(task.memory()));
  if (!arg.text.empty() && arg.text.front() == '/') {
    arg.base = task.WalkFromCwd();
  } else {
    arg.base = TRY(task.WalkFrom(dirfd));
  }
  return arg;
}

Result<Path> WalkAt(Task& task, Fd dirfd, GuestStr path, int flags) {
  return WalkFlagged(task, dirfd, path, !(flags & AT_SYMLINK_NOFOLLOW), flags & AT_EMPTY_PATH);
}

Result<Path> WalkAtNoFollow(Task& task, Fd dirfd, GuestStr path, int flags) {
  return WalkFlagged(task, dirfd, path, flags & AT_SYMLINK_FOLLOW, flags & AT_EMPTY_PATH);
}

Result<Path> PathOfFd(Task& task, Fd fd) {
  if (fd == AtCwd()) return task.fs().cwd();
  return PathOfFile(TRY(task.fds().GetAny(fd)));
}

}  // namespace sandbox::syscalls
