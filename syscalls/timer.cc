// getitimer(2), setitimer(2), alarm(2), timer_create(2), timer_settime(2), timer_gettime(2), timer_getoverrun(2),
// timer_delete(2).
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

Result<int64_t> FromTimeval(const timeval& tv) {
  if (tv.tv_sec < 0 || tv.tv_usec < 0 || tv.tv_usec >= 1'000'000) return Err(EINVAL);
  return ToNs({tv.tv_sec, tv.tv_usec * 1000});
}

// Rounded up: an armed timer never reads as zero.
timeval ToTimevalUp(int64_t ns) {
  const int64_t us = (ns + 999) / 1000;
  return {us / 1'000'000, us % 1'000'000};
}

itimerval ToItimerval(const IntervalTimer::Setting& setting) {
  return {ToTimevalUp(setting.interval_ns), ToTimevalUp(setting.remaining_ns)};
}

Result<void> CheckWhich(int which) {
  if (which != ITIMER_REAL && which != ITIMER_VIRTUAL && which != ITIMER_PROF) return Err(EINVAL);
  return {};
}

Result<void> SysGetitimer(Task& task, int which, OutPtr<itimerval> out) {
  TRY(CheckWhich(which));
  return out.Write(task.memory(), ToItimerval(task.group().timers().GetInterval(which)));
}
SYSCALL_ROW(getitimer, Lane::kShort, Support::kFull, SysGetitimer, "");

Result<void> SysSetitimer(Task& task, int which, InPtr<itimerval> value, OutPtr<itimerval> old) {
  IntervalTimer::Setting setting;
  if (!value.IsNull()) {
    const itimerval wanted = TRY(value.Read(task.memory()));
    setting.remaining_ns = TRY(FromTimeval(wanted.it_value));
    setting.interval_ns = TRY(FromTimeval(wanted.it_interval));
  }
  TRY(CheckWhich(which));
  const auto before = task.group().timers().SetInterval(which, setting);
  if (old.IsNull()) return {};
  return old.Write(task.memory(), ToItimerval(before));
}
SYSCALL_ROW(setitimer, Lane::kShort, Support::kFull, SysSetitimer, "");

Result<uint32_t> SysAlarm(Task& task, uint32_t seconds) {
  const auto before = task.group().timers().SetInterval(ITIMER_REAL, {seconds * kNsPerSecond, 0});
  if (before.remaining_ns == 0) return 0;
  // To the nearest second, but never 0 for a pending alarm (Linux: alarm_setitimer).
  return static_cast<uint32_t>(std::max<int64_t>((before.remaining_ns + kNsPerSecond / 2) / kNsPerSecond, 1));
}
SYSCALL_ROW(alarm, Lane::kShort, Support::kFull, SysAlarm, "");

Result<void> SysTimerCreate(Task& task, int32_t clock, InPtr<sigevent> event, OutPtr<int32_t> out) {
  sigevent wanted;
  if (!event.IsNull()) wanted = TRY(event.Read(task.memory()));
  ProcessTimers& timers = task.group().timers();
  const int32_t id = TRY(timers.Create(task, clock, event.IsNull() ? nullptr : &wanted));
  const auto written = out.Write(task.memory(), id);
  if (!written.ok()) (void)timers.Delete(id);
  return written;
}
SYSCALL_ROW(timer_create, Lane::kShort, Support::kFull, SysTimerCreate, "");

itimerspec ToItimerspec(const IntervalTimer::Setting& setting) {
  return {ToTimespec(setting.interval_ns), ToTimespec(setting.remaining_ns)};
}

Result<void> SysTimerSettime(Task& task, int32_t id, int flags, InPtr<itimerspec> value, OutPtr<itimerspec> old) {
  if (value.IsNull()) return Err(EINVAL);
  const itimerspec wanted = TRY(value.Read(task.memory()));
  if (!ValidTimespec(wanted.it_value) || !ValidTimespec(wanted.it_interval)) return Err(EINVAL);
  const auto before =
      TRY(task.group().timers().SetTime(id, flags & TIMER_ABSTIME, ToNs(wanted.it_value), ToNs(wanted.it_interval)));
  if (old.IsNull()) return {};
  return old.Write(task.memory(), ToItimerspec(before));
}
SYSCALL_ROW(timer_settime, Lane::kShort, Support::kFull, SysTimerSettime, "");

Result<void> SysTimerGettime(Task& task, int32_t id, OutPtr<itimerspec> out) {
  return out.Write(task.memory(), ToItimerspec(TRY(task.group().timers().GetTime(id))));
}
SYSCALL_ROW(timer_gettime, Lane::kShort, Support::kFull, SysTimerGettime, "");

Result<int> SysTimerGetoverrun(Task& task, int32_t id) { return task.group().timers().Overrun(id); }
SYSCALL_ROW(timer_getoverrun, Lane::kShort, Support::kFull, SysTimerGetoverrun, "");

Result<void> SysTimerDelete(Task& task, int32_t id) { return task.group().timers().Delete(id); }
SYSCALL_ROW(timer_delete, Lane::kShort, Support::kFull, SysTimerDelete, "");

}  // namespace
}  // namespace sandbox::syscalls
