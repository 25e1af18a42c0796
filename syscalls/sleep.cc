// nanosleep(2), clock_nanosleep(2).
#include <time.h>

#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// Sleeps until the deadline. An interrupted relative sleep writes what is left and can be resumed by
// restart_syscall(2).
Result<int64_t> SleepUntil(Task& task, MonotonicTime deadline, OutPtr<timespec> remaining) {
  for (;;) {
    const auto slept = task.Block(deadline);
    if (slept.Is(ETIMEDOUT)) return 0;
    if (slept.ok()) continue;
    if (!remaining.IsNull()) {
      const int64_t left = std::max<int64_t>(deadline.ns - MonotonicNow().ns, 0);
      TRY(remaining.Write(task.memory(), ToTimespec(left)));
    }
    task.SetRestartBlock([deadline, remaining](Task& again) { return SleepUntil(again, deadline, remaining); });
    return Err(kErestartRestartblock);
  }
}

Result<int64_t> SysNanosleep(Task& task, InPtr<timespec> request, OutPtr<timespec> remaining) {
  const timespec ts = TRY(request.Read(task.memory()));
  if (!ValidTimespec(ts)) return Err(EINVAL);
  return SleepUntil(task, DeadlineAfter(ToNs(ts)), remaining);
}
SYSCALL_ROW(nanosleep, Lane::kMayBlock, Support::kFull, SysNanosleep, "");

// CPU clocks stand still while we sleep and run only for others: the wait looks again when the time could be over.
Result<int64_t> SleepOnCpuClock(Task& task, clockid_t clock, uint64_t until_ns) {
  for (;;) {
    const uint64_t now = TRY(ReadCpuClockNs(task, clock));
    if (now >= until_ns) return 0;
    constexpr uint64_t kFinest = 1'000'000;
    const auto slept = task.Block(DeadlineAfter(static_cast<int64_t>(std::max(until_ns - now, kFinest))));
    if (!slept.ok() && !slept.Is(ETIMEDOUT)) return slept.error();
  }
}

Result<int64_t> SysClockNanosleep(Task& task, int32_t clock, int flags, InPtr<timespec> request,
                                  OutPtr<timespec> remaining) {
  // The alarm clocks need a clock of the machine's that runs while it sleeps, which there is none of.
  if (clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM) {
    return Err(EOPNOTSUPP);
  }
  const bool cpu = IsCpuClock(clock);
  if (!cpu) {
    if (!ReadClockNs(clock).ok()) return Err(EINVAL);
    if (clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE) {
      return Err(EOPNOTSUPP);
    }
  }
  const timespec ts = TRY(request.Read(task.memory()));
  if (!ValidTimespec(ts)) return Err(EINVAL);
  // Nobody sleeps until he has run for some time (Linux: posix_cpu_nsleep).
  constexpr int32_t kPerThread = 4;
  const int32_t owner = ~(clock >> 3);
  if (clock < 0 && (clock & kPerThread) && (owner == 0 || owner == task.pid()->own())) return Err(EINVAL);
  const bool absolute = flags & TIMER_ABSTIME;
  if (cpu) {
    const uint64_t base = absolute ? 0 : TRY(ReadCpuClockNs(task, clock));
    return SleepOnCpuClock(task, clock, base + static_cast<uint64_t>(ToNs(ts)));
  }
  if (!absolute) return SleepUntil(task, DeadlineAfter(ToNs(ts)), remaining);
  const MonotonicTime deadline = TRY(DeadlineOn(clock, ToNs(ts)));
  for (;;) {
    const auto slept = task.Block(deadline);
    if (slept.Is(ETIMEDOUT)) return 0;
    if (!slept.ok()) return Err(kErestartnohand);  // the same absolute time again
  }
}
SYSCALL_ROW(clock_nanosleep, Lane::kMayBlock, Support::kFull, SysClockNanosleep, "");

}  // namespace
}  // namespace sandbox::syscalls
