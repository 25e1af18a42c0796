// signalfd(2), signalfd4(2).
#include "sentry/fs/signalfd/signalfd.h"

#include <sys/signalfd.h>

#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<Fd> SysSignalfd4(Task& task, Fd fd, InPtr<SignalSet> mask_ptr, uint64_t size, int flags) {
  if (size != sizeof(SignalSet)) return Err(EINVAL);
  const SignalSet mask = TRY(mask_ptr.Read(task.memory()));
  if (flags & ~(SFD_CLOEXEC | SFD_NONBLOCK)) return Err(EINVAL);
  if (fd.number() == -1) {
    return task.fds().Install(task, MakeRef<SignalFd>(mask, flags & SFD_NONBLOCK), (flags & SFD_CLOEXEC) != 0);
  }
  const FileRef file = TRY(task.fds().Get(fd));
  auto* existing = dynamic_cast<SignalFd*>(file.get());
  if (existing == nullptr) return Err(EINVAL);
  existing->SetMask(mask);
  return fd;
}
SYSCALL_ROW(signalfd4, Lane::kShort, Support::kFull, SysSignalfd4, "");

Result<Fd> SysSignalfd(Task& task, Fd fd, InPtr<SignalSet> mask, uint64_t size) {
  return SysSignalfd4(task, fd, mask, size, 0);
}
SYSCALL_ROW(signalfd, Lane::kShort, Support::kFull, SysSignalfd, "");

}  // namespace
}  // namespace sandbox::syscalls
