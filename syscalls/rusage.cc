// getrusage(2), times(2).
#include <sys/resource.h>
#include <sys/times.h>

#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/row.h"
#include "syscalls/usage.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysGetrusage(Task& task, int who, OutPtr<rusage> out) {
  Usage usage;
  switch (who) {
    case RUSAGE_SELF:
      usage = task.group().usage();
      usage.AddMemory(task.thread().OwnUsage());
      break;
    case RUSAGE_CHILDREN:
      usage = task.group().children_usage();
      break;
    case RUSAGE_THREAD:
      usage = task.usage();
      usage.AddMemory(task.thread().OwnUsage());
      break;
    default:
      return Err(EINVAL);
  }
  return out.Write(task.memory(), ToRusage(usage));
}
SYSCALL_ROW(getrusage, Lane::kFull, Support::kPartial, SysGetrusage,
            "no I/O and swap counters; faults are the process's");

Result<int64_t> SysTimes(Task& task, OutPtr<tms> out) {
  constexpr uint64_t kNsPerTick = 10'000'000;
  const auto ticks = [](uint64_t ns) { return static_cast<clock_t>(ns / kNsPerTick); };
  if (!out.IsNull()) {
    const Usage own = task.group().usage(), children = task.group().children_usage();
    TRY(out.Write(task.memory(),
                  {ticks(own.user_ns), ticks(own.system_ns), ticks(children.user_ns), ticks(children.system_ns)}));
  }
  return ticks(TRY(ReadClockNs(CLOCK_BOOTTIME)));
}
SYSCALL_ROW(times, Lane::kShort, Support::kFull, SysTimes, "");

}  // namespace
}  // namespace sandbox::syscalls
