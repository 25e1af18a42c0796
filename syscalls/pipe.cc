// pipe(2), pipe2(2).
#include <fcntl.h>

#include "sentry/fs/pipe/pipe_file.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

using FdPairPtr = OutPtr<std::array<int32_t, 2>>;

Result<void> SysPipe2(Task& task, FdPairPtr fds, int flags) {
  if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) return Err(EINVAL);
  auto [reader, writer] = TRY(MakePipe(task, flags));
  const auto [a, b] = TRY(task.fds().InstallPair(task, std::move(reader), std::move(writer), (flags & O_CLOEXEC) != 0));
  const auto written = fds.Write(task.memory(), {a.number(), b.number()});
  if (!written.ok()) {
    (void)task.fds().Close(task, a);
    (void)task.fds().Close(task, b);
  }
  return written;
}
SYSCALL_ROW(pipe2, Lane::kShort, Support::kPartial, SysPipe2, "no O_NOTIFICATION_PIPE");

Result<void> SysPipe(Task& task, FdPairPtr fds) { return SysPipe2(task, fds, 0); }
SYSCALL_ROW(pipe, Lane::kShort, Support::kFull, SysPipe, "");

}  // namespace
}  // namespace sandbox::syscalls
