// futex_wake(2), futex_wait(2), futex_requeue(2): since Linux 6.7 (Linux: kernel/futex/syscalls.c).
#include <linux/futex.h>
#include <time.h>

#include "abi/futex.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/newer_calls.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr uint32_t kSize32 = 2, kPrivate = FUTEX_PRIVATE_FLAG;

// Words of 32 bits only; no NUMA words.
Result<bool> Shared(uint32_t flags) {
  if ((flags & ~(kSize32 | kPrivate)) || !(flags & kSize32)) return Err(EINVAL);
  return !(flags & kPrivate);
}

bool FitsWord(uint64_t value) { return value <= UINT32_MAX; }

Result<int> SysFutexWake(Task& task, GuestAddr addr, uint64_t mask, int count, uint32_t flags) {
  const bool shared = TRY(Shared(flags));
  if (!FitsWord(mask) || mask == 0) return Err(EINVAL);
  if (!task.HasHostFutexes()) {
    return count <= 0 ? 0 : task.kernel().futexes().Wake(task, addr, shared, count, static_cast<uint32_t>(mask));
  }
  const platform::HostCall host{.nr = __NR_futex_wake,
                                .args = {addr.value(), mask, static_cast<uint64_t>(count), flags}};
  return static_cast<int>(TRY(task.MakeHostCall(host, false)));
}
SYSCALL_ROW(futex_wake, Lane::kMayBlock, Support::kPartial, SysFutexWake, "words of 32 bits, no NUMA");

Result<int> SysFutexWait(Task& task, GuestAddr addr, uint64_t value, uint64_t mask, uint32_t flags,
                         InPtr<timespec> timeout, int clock) {
  const bool shared = TRY(Shared(flags));
  if (!FitsWord(value) || !FitsWord(mask) || mask == 0) return Err(EINVAL);
  Deadline deadline;
  if (!timeout.IsNull()) {
    if (clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME) return Err(EINVAL);
    const timespec ts = TRY(timeout.Read(task.memory()));
    if (!ValidTimespec(ts)) return Err(EINVAL);
    deadline = TRY(DeadlineOn(clock, ToNs(ts)));
  }
  if (!task.HasHostFutexes()) {
    TRY(task.kernel().futexes().Wait(task, addr, shared, static_cast<uint32_t>(value), static_cast<uint32_t>(mask),
                                     deadline));
    return 0;
  }
  const platform::HostCall host{
      .nr = __NR_futex_wait,
      .args = {addr.value(), value, mask, flags, timeout.addr().value(), static_cast<uint64_t>(clock)}};
  return static_cast<int>(TRY(task.MakeHostCall(host, true)));
}
SYSCALL_ROW(futex_wait, Lane::kMayBlock, Support::kPartial, SysFutexWait, "words of 32 bits, no NUMA");

Result<int> SysFutexRequeue(Task& task, InPtr<abi::FutexWaitv> waiters, uint32_t flags, int wake, int requeue) {
  if (flags != 0 || waiters.IsNull()) return Err(EINVAL);
  const auto words = TRY(waiters.ReadArray(task.memory(), 2));
  for (const abi::FutexWaitv& word : words) {
    TRY(Shared(word.flags));
    if (word.reserved != 0 || !FitsWord(word.value)) return Err(EINVAL);
  }
  if (words[0].flags != words[1].flags) return Err(EINVAL);
  if (task.HasHostFutexes()) {
    const platform::HostCall host{
        .nr = __NR_futex_requeue,
        .args = {waiters.addr().value(), 0, static_cast<uint64_t>(wake), static_cast<uint64_t>(requeue)}};
    return static_cast<int>(TRY(task.MakeHostCall(host, false)));
  }
  const auto expected = static_cast<uint32_t>(words[0].value);
  return task.kernel().futexes().Requeue(task, {GuestAddr(words[0].addr), !(words[0].flags & kPrivate)},
                                         {GuestAddr(words[1].addr), !(words[1].flags & kPrivate)}, wake, requeue,
                                         &expected);
}
SYSCALL_ROW(futex_requeue, Lane::kMayBlock, Support::kPartial, SysFutexRequeue, "words of 32 bits, no NUMA");

}  // namespace
}  // namespace sandbox::syscalls
