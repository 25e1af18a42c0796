// link(2), linkat(2), symlink(2), symlinkat(2), readlink(2), readlinkat(2).
#include <fcntl.h>
#include <linux/capability.h>

#include "sentry/kernel/task.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysLinkat(Task& task, Fd old_dirfd, GuestStr old_path, Fd new_dirfd, GuestStr new_path, int flags) {
  if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) return Err(EINVAL);
  // Linking a descriptor would get around the directory's permissions, so Linux wants a capability.
  if ((flags & AT_EMPTY_PATH) && !task.creds().Has(CAP_DAC_READ_SEARCH)) return Err(ENOENT);
  const Path target = TRY(WalkAtNoFollow(task, old_dirfd, old_path, flags));
  const PathArg arg = TRY(ReadPathArg(task, new_dirfd, new_path));
  return MakeLink(task, target, arg.base, arg.text);
}
SYSCALL_ROW(linkat, Lane::kShort, Support::kFull, SysLinkat, "");

Result<void> SysLink(Task& task, GuestStr old_path, GuestStr new_path) {
  return SysLinkat(task, AtCwd(), old_path, AtCwd(), new_path, 0);
}
SYSCALL_ROW(link, Lane::kShort, Support::kFull, SysLink, "");

Result<void> SysSymlinkat(Task& task, GuestStr target, Fd dirfd, GuestStr path) {
  const std::string text = TRY(target.ReadPath(task.memory()));
  const PathArg arg = TRY(ReadPathArg(task, dirfd, path));
  return MakeSymlink(task, arg.base, text, arg.text);
}
SYSCALL_ROW(symlinkat, Lane::kShort, Support::kFull, SysSymlinkat, "");

Result<void> SysSymlink(Task& task, GuestStr target, GuestStr path) {
  return SysSymlinkat(task, target, AtCwd(), path);
}
SYSCALL_ROW(symlink, Lane::kShort, Support::kFull, SysSymlink, "");

Result<size_t> SysReadlinkat(Task& task, Fd dirfd, GuestStr path, GuestAddr buffer, int32_t size) {
  if (size <= 0) return Err(EINVAL);
  // An empty path names the descriptor, which must be an O_PATH one of a link; otherwise ENOENT (readlinkat(2)).
  const std::string text = TRY(path.ReadPath(task.memory()));
  Path found;
  if (text.empty()) {
    found = TRY(PathOfFd(task, dirfd));
    if (found.inode()->Type(task) != S_IFLNK) return Err(ENOENT);
  } else {
    const WalkBase base = text.front() == '/' ? task.WalkFromCwd() : TRY(task.WalkFrom(dirfd));
    WalkOptions options;
    options.follow_last = false;
    found = TRY(Walk(task, base, text, options));
  }
  const InodeRef inode = found.inode();
  if (inode->Type(task) != S_IFLNK) return Err(EINVAL);
  const std::string target = TRY(inode->ReadLink(task));
  const size_t length = std::min(target.size(), static_cast<size_t>(size));
  TRY(task.memory().Write(buffer, target.data(), length));
  return length;
}
SYSCALL_ROW(readlinkat, Lane::kShort, Support::kFull, SysReadlinkat, "");

Result<size_t> SysReadlink(Task& task, GuestStr path, GuestAddr buffer, int32_t size) {
  return SysReadlinkat(task, AtCwd(), path, buffer, size);
}
SYSCALL_ROW(readlink, Lane::kShort, Support::kFull, SysReadlink, "");

}  // namespace
}  // namespace sandbox::syscalls
