// eventfd(2), eventfd2(2).
#include "sentry/fs/anon/eventfd.h"

#include <sys/eventfd.h>

#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<Fd> SysEventfd2(Task& task, uint32_t initial, int flags) {
  if (flags & ~(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK)) return Err(EINVAL);
  auto file = MakeRef<EventFd>(initial, (flags & EFD_SEMAPHORE) != 0, flags & EFD_NONBLOCK);
  return task.fds().Install(task, std::move(file), (flags & EFD_CLOEXEC) != 0);
}
SYSCALL_ROW(eventfd2, Lane::kShort, Support::kFull, SysEventfd2, "");

Result<Fd> SysEventfd(Task& task, uint32_t initial) { return SysEventfd2(task, initial, 0); }
SYSCALL_ROW(eventfd, Lane::kShort, Support::kFull, SysEventfd, "");

}  // namespace
}  // namespace sandbox::syscalls
