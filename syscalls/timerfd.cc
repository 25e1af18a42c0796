// timerfd_create(2), timerfd_settime(2), timerfd_gettime(2).
#include "sentry/fs/anon/timerfd.h"

#include <linux/capability.h>
#include <sys/timerfd.h>

#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<Fd> SysTimerfdCreate(Task& task, int clock, int flags) {
  if (flags & ~(TFD_CLOEXEC | TFD_NONBLOCK)) return Err(EINVAL);
  const bool alarm = clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
  if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME && !alarm) return Err(EINVAL);
  if (alarm && !task.creds().Has(CAP_WAKE_ALARM)) return Err(EPERM);
  // Nothing suspends a sandbox, so alarm clocks are their plain ones.
  if (clock == CLOCK_REALTIME_ALARM) clock = CLOCK_REALTIME;
  if (clock == CLOCK_BOOTTIME_ALARM) clock = CLOCK_BOOTTIME;
  return task.fds().Install(task, MakeRef<TimerFd>(clock, flags & TFD_NONBLOCK), (flags & TFD_CLOEXEC) != 0);
}
SYSCALL_ROW(timerfd_create, Lane::kShort, Support::kFull, SysTimerfdCreate, "");

Result<RefPtr<TimerFd>> GetTimer(Task& task, Fd fd) {
  auto timer = std::dynamic_pointer_cast<TimerFd>(TRY(task.fds().Get(fd)));
  if (timer == nullptr) return Err(EINVAL);
  return timer;
}

Result<void> SysTimerfdSettime(Task& task, Fd fd, int flags, InPtr<itimerspec> setting, OutPtr<itimerspec> old) {
  const auto wanted = TRY(setting.Read(task.memory()));
  if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) return Err(EINVAL);
  if (!ValidTimespec(wanted.it_value) || !ValidTimespec(wanted.it_interval)) return Err(EINVAL);
  const auto before = TRY(TRY(GetTimer(task, fd))->Set(flags, wanted));
  return old.IsNull() ? Result<void>() : old.Write(task.memory(), before);
}
SYSCALL_ROW(timerfd_settime, Lane::kShort, Support::kPartial, SysTimerfdSettime,
            "steps of the realtime clock are not followed");

Result<void> SysTimerfdGettime(Task& task, Fd fd, OutPtr<itimerspec> out) {
  return out.Write(task.memory(), TRY(GetTimer(task, fd))->Get());
}
SYSCALL_ROW(timerfd_gettime, Lane::kShort, Support::kFull, SysTimerfdGettime, "");

}  // namespace
}  // namespace sandbox::syscalls
