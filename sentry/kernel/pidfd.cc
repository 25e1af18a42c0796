#include "sentry/kernel/pidfd.h"

#include "base/log.h"
#include "sentry/kernel/task.h"

namespace sandbox {

std::string PidFd::FdInfo(Context&) {
  const int32_t pid = group_->zombie() && group_->leader() == nullptr ? -1 : group_->tgid();
  return StrPrintf("Pid:\t%d\nNSpid:\t%d\n", pid, pid);
}

Result<Fd> InstallPidFd(Task& task, const ThreadGroupRef& group, GuestAddr out) {
  const Fd fd = TRY(task.fds().Install(task, MakeRef<PidFd>(group, O_RDWR), true));
  if (const auto written = OutPtr<int32_t>(out).Write(task.memory(), fd.number()); !written.ok()) {
    (void)task.fds().Close(task, fd);
    return written.error();
  }
  return fd;
}

Result<ThreadGroupRef> GroupOfPidFd(Task& task, Fd fd) {
  const FileRef file = TRY(task.fds().Get(fd));
  const auto* pidfd = dynamic_cast<const PidFd*>(file.get());
  if (pidfd == nullptr) return Err(EBADF);
  return pidfd->group();
}

}  // namespace sandbox
