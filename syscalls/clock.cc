// clock_gettime(2), clock_getres(2), clock_settime(2), gettimeofday(2), settimeofday(2), time(2), clock_adjtime(2).
#include <linux/capability.h>
#include <sys/time.h>
#include <sys/timex.h>

#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysClockGettime(Task& task, int32_t clock, OutPtr<timespec> out) {
  const int64_t ns =
      IsCpuClock(clock) ? static_cast<int64_t>(TRY(ReadCpuClockNs(task, clock))) : TRY(ReadClockNs(clock));
  return out.Write(task.memory(), ToTimespec(ns));
}
SYSCALL_ROW(clock_gettime, Lane::kShort, Support::kFull, SysClockGettime, "");

Result<void> SysClockGetres(Task& task, int32_t clock, OutPtr<timespec> out) {
  int64_t ns = 1;
  if (IsCpuClock(clock)) {
    TRY(ReadCpuClockNs(task, clock));
  } else {
    ns = TRY(ClockResolutionNs(clock));
  }
  if (out.IsNull()) return {};
  return out.Write(task.memory(), ToTimespec(ns));
}
SYSCALL_ROW(clock_getres, Lane::kShort, Support::kFull, SysClockGetres, "");

// The guest's clocks are the host's, which nobody in a sandbox may set.
Result<void> SysClockSettime(Task& task, int32_t clock, InPtr<timespec> time) {
  const bool of_a_task = clock < 0 && IsCpuClock(clock);
  if (clock != CLOCK_REALTIME && !of_a_task) return Err(EINVAL);
  const timespec ts = TRY(time.Read(task.memory()));
  if (of_a_task) {
    TRY(ReadCpuClockNs(task, clock));
    return Err(EPERM);
  }
  if (!ValidTimespec(ts)) return Err(EINVAL);
  return Err(EPERM);
}
SYSCALL_ROW(clock_settime, Lane::kShort, Support::kPartial, SysClockSettime,
            "EPERM even for root: the clock is the host's");

Result<void> SysGettimeofday(Task& task, OutPtr<timeval> time, OutPtr<struct timezone> zone) {
  if (!time.IsNull()) {
    const int64_t ns = TRY(ReadClockNs(CLOCK_REALTIME));
    TRY(time.Write(task.memory(), {ns / 1'000'000'000, ns % 1'000'000'000 / 1000}));
  }
  if (!zone.IsNull()) TRY(zone.Write(task.memory(), {0, 0}));
  return {};
}
SYSCALL_ROW(gettimeofday, Lane::kShort, Support::kFull, SysGettimeofday, "");

Result<void> SysSettimeofday(Task& task, InPtr<timeval> time, InPtr<struct timezone> zone) {
  if (!time.IsNull()) {
    const timeval tv = TRY(time.Read(task.memory()));
    if (tv.tv_usec < 0 || tv.tv_usec >= 1'000'000) return Err(EINVAL);
  }
  if (!zone.IsNull()) TRY(zone.Read(task.memory()));
  return Err(EPERM);
}
SYSCALL_ROW(settimeofday, Lane::kShort, Support::kPartial, SysSettimeofday,
            "EPERM even for root: the clock is the host's");

Result<int64_t> SysTime(Task& task, OutPtr<int64_t> out) {
  const int64_t seconds = TRY(ReadClockNs(CLOCK_REALTIME)) / 1'000'000'000;
  if (!out.IsNull()) TRY(out.Write(task.memory(), seconds));
  return seconds;
}
SYSCALL_ROW(time, Lane::kShort, Support::kFull, SysTime, "");

Result<int> SysClockAdjtime(Task& task, int32_t clock, InOutPtr<timex> ptr) {
  timex tx = TRY(ptr.Read(task.memory()));
  if (clock != CLOCK_REALTIME) {
    if (!IsCpuClock(clock) && !ReadClockNs(clock).ok()) return Err(EINVAL);
    return Err(EOPNOTSUPP);
  }
  // Linux: timekeeping_validate_timex.
  constexpr unsigned kSingleShot = 0x8000;
  if ((tx.modes & kSingleShot) && !(tx.modes & ADJ_OFFSET)) return Err(EINVAL);
  // The old adjtime(3) has a form that only reads.
  constexpr unsigned kReadOnly = 0xa001;  // ADJ_OFFSET_SS_READ
  if (tx.modes != 0 && tx.modes != kReadOnly) return Err(EPERM);
  tx = {};
  const int64_t ns = RealtimeNowNs();
  tx.time = {ns / 1'000'000'000, ns % 1'000'000'000 / 1000};
  tx.status = STA_UNSYNC;
  tx.maxerror = tx.esterror = 16'000'000;
  tx.tick = 10'000;
  tx.constant = 2;
  tx.precision = 1;
  tx.tolerance = 32'768'000;
  TRY(ptr.Write(task.memory(), tx));
  return TIME_ERROR;
}
SYSCALL_ROW(clock_adjtime, Lane::kShort, Support::kPartial, SysClockAdjtime, "read only, never synchronised");

Result<int> SysAdjtimex(Task& task, InOutPtr<timex> ptr) { return SysClockAdjtime(task, CLOCK_REALTIME, ptr); }
SYSCALL_ROW(adjtimex, Lane::kShort, Support::kPartial, SysAdjtimex, "read only, never synchronised");

}  // namespace
}  // namespace sandbox::syscalls
