// inotify_init(2), inotify_add_watch(2), inotify_rm_watch(2).
#include "sentry/fs/anon/inotify.h"

#include <sys/inotify.h>
#include <unistd.h>

#include "sentry/kernel/task.h"
#include "sentry/vfs/walk.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr uint32_t kKnownBits = IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW |
                                IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ISDIR | IN_ONESHOT;

Result<Fd> SysInotifyInit1(Task& task, int flags) {
  if (flags & ~(IN_CLOEXEC | IN_NONBLOCK)) return Err(EINVAL);
  return task.fds().Install(task, TRY(Inotify::Make(flags & IN_NONBLOCK)), (flags & IN_CLOEXEC) != 0);
}
SYSCALL_ROW(inotify_init1, Lane::kShort, Support::kFull, SysInotifyInit1, "");

Result<Fd> SysInotifyInit(Task& task) { return SysInotifyInit1(task, 0); }
SYSCALL_ROW(inotify_init, Lane::kShort, Support::kFull, SysInotifyInit, "");

Result<RefPtr<Inotify>> GetInotify(Task& task, Fd fd) {
  auto inotify = std::dynamic_pointer_cast<Inotify>(TRY(task.fds().Get(fd)));
  if (inotify == nullptr) return Err(EINVAL);
  return inotify;
}

Result<int> SysInotifyAddWatch(Task& task, Fd fd, GuestStr path, uint32_t mask) {
  if ((mask & kKnownBits) == 0) return Err(EINVAL);
  const auto inotify = TRY(GetInotify(task, fd));
  if ((mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE)) return Err(EINVAL);
  const std::string name = TRY(path.ReadPath(task.memory()));
  WalkOptions options;
  options.follow_last = !(mask & IN_DONT_FOLLOW);
  options.require_dir = (mask & IN_ONLYDIR) != 0;
  const Path found = TRY(Walk(task, task.WalkFromCwd(), name, options));
  TRY(found.inode()->CheckAccess(task, R_OK));
  return inotify->Add(found, mask);
}
SYSCALL_ROW(inotify_add_watch, Lane::kShort, Support::kPartial, SysInotifyAddWatch, "IN_EXCL_UNLINK has no effect");

Result<void> SysInotifyRmWatch(Task& task, Fd fd, int watch) { return TRY(GetInotify(task, fd))->Remove(watch); }
SYSCALL_ROW(inotify_rm_watch, Lane::kShort, Support::kFull, SysInotifyRmWatch, "");

}  // namespace
}  // namespace sandbox::syscalls
