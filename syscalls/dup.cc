// dup(2), dup2(2), dup3(2).
#include <fcntl.h>

#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<Fd> SysDup(Task& task, Fd fd) { return task.fds().Install(task, TRY(task.fds().GetAny(fd)), false); }
SYSCALL_ROW(dup, Lane::kShort, Support::kFull, SysDup, "");

Result<Fd> SysDup3(Task& task, Fd from, Fd to, int flags) {
  if (flags & ~O_CLOEXEC) return Err(EINVAL);
  if (from == to) return Err(EINVAL);
  FileRef file = TRY(task.fds().GetAny(from));
  TRY(task.fds().InstallAt(task, to, std::move(file), flags & O_CLOEXEC));
  return to;
}
SYSCALL_ROW(dup3, Lane::kShort, Support::kFull, SysDup3, "");

Result<Fd> SysDup2(Task& task, Fd from, Fd to) {
  if (from == to) {
    TRY(task.fds().GetAny(from));
    return to;
  }
  return SysDup3(task, from, to, 0);
}
SYSCALL_ROW(dup2, Lane::kShort, Support::kFull, SysDup2, "");

}  // namespace
}  // namespace sandbox::syscalls
