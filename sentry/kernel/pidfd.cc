#include "sentry/kernel/pidfd.h"

#include "base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {

TaskRef PidFd::Target() const {
  if (thread_ == nullptr) return group_->leader();
  return group_->kernel().FindTask(thread_->tid()) == thread_ ? thread_ : nullptr;
}

EventMask PidFd::Readiness(Context&, EventMask interest) {
  const bool ended = thread_ != nullptr ? thread_->state() == Task::State::kZombie : group_->zombie();
  if (!ended) return 0;
  return (kReadable & interest) | (Target() == nullptr ? kEventHup : 0);
}

std::string PidFd::FdInfo(Context& context) {
  const TaskRef target = Target();
  if (target == nullptr) return "Pid:\t-1\nNSpid:\t-1\n";
  const PidRef pid = target->pid();
  const int32_t seen = context.ShownPid(pid->root());
  std::string text = StrPrintf("Pid:\t%d\nNSpid:", seen);
  for (const Pid::Number& number : pid->numbers) {
    if (seen == 0 || number.space->level() < Task::Of(context)->pid_space().level()) continue;
    text += StrPrintf("\t%d", number.number);
  }
  return text + "\n";
}

Result<Fd> InstallPidFd(Task& task, const ThreadGroupRef& group, const TaskRef& thread, GuestAddr out) {
  const Fd fd = TRY(task.fds().Install(task, MakeRef<PidFd>(group, O_RDWR, thread), true));
  if (const auto written = OutPtr<int32_t>(out).Write(task.memory(), fd.number()); !written.ok()) {
    (void)task.fds().Close(task, fd);
    return written.error();
  }
  return fd;
}

Result<RefPtr<PidFd>> GetPidFd(Task& task, Fd fd) {
  auto pidfd = std::dynamic_pointer_cast<PidFd>(TRY(task.fds().Get(fd)));
  if (pidfd == nullptr) return Err(EBADF);
  return pidfd;
}

Result<ThreadGroupRef> GroupOfPidFd(Task& task, Fd fd) { return TRY(GetPidFd(task, fd))->group(); }

}  // namespace sandbox
