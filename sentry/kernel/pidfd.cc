#include "sentry/kernel/pidfd.h"

#include "base/log.h"
#include "sentry/kernel/task.h"

namespace sandbox {

std::string PidFd::FdInfo(Context& context) {
  if (group_->leader() == nullptr) return "Pid:\t-1\nNSpid:\t-1\n";
  std::string text = StrPrintf("Pid:\t%d\nNSpid:", context.ShownPid(group_->tgid()));
  for (const Pid::Number& number : group_->pid()->numbers) {
    const int32_t seen = context.ShownPid(group_->tgid());
    if (seen == 0 || number.space->level() < Task::Of(context)->pid_space().level()) continue;
    text += StrPrintf("\t%d", number.number);
  }
  return text + "\n";
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
