// futex(2), futex_waitv(2), set_robust_list(2), get_robust_list(2).
#include <linux/capability.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>

#include "abi/futex.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

struct FutexCall {
  GuestAddr addr;
  uint32_t value;
  uint64_t timeout_or_value2;
  GuestAddr addr2;
  uint32_t value3;
  bool shared;
  clockid_t clock;
};

// Absolute for WAIT_BITSET and the PI calls, relative for WAIT.
Result<Deadline> ReadDeadline(Task& task, const FutexCall& call, bool relative, clockid_t clock) {
  if (call.timeout_or_value2 == 0) return Deadline();
  const timespec ts = TRY(InPtr<timespec>(GuestAddr(call.timeout_or_value2)).Read(task.memory()));
  if (!ValidTimespec(ts)) return Err(EINVAL);
  if (relative) return Deadline(DeadlineAfter(std::max<int64_t>(ToNs(ts) - task.waited_ns(), 0)));
  return Deadline(TRY(DeadlineOn(clock, ToNs(ts))));
}

uint64_t PrivateFlag(const FutexCall& call) { return call.shared ? 0 : FUTEX_PRIVATE_FLAG; }

Result<void> WaitOnce(Task& task, const FutexCall& call, uint32_t bitset, const Deadline& deadline) {
  if (!task.HasHostFutexes()) {
    return task.kernel().futexes().Wait(task, call.addr, call.shared, call.value, bitset, deadline);
  }
  platform::HostCall host{.nr = __NR_futex,
                          .args = {call.addr.value(), FUTEX_WAIT_BITSET | PrivateFlag(call), call.value, 0, 0, bitset}};
  if (deadline) host.deadline_ns = deadline->ns;
  TRY(task.MakeHostCall(host, true));
  return {};
}

Result<int> Wait(Task& task, const FutexCall& call, uint32_t bitset, const Deadline& deadline) {
  const auto waited = WaitOnce(task, call, bitset, deadline);
  if (waited.ok()) return 0;
  if (!waited.Is(kErestartsys) || !deadline) return waited.error();
  // A timed wait goes on with what is left of its time, but never runs again after a handler.
  task.SetRestartBlock(
      [call, bitset, deadline](Task& again) -> Result<int64_t> { return TRY(Wait(again, call, bitset, deadline)); });
  return Err(kErestartRestartblock);
}

// Where nobody sleeps.
Result<int> RunOnHost(Task& task, int command, const FutexCall& call) {
  const uint64_t op = static_cast<uint64_t>(command) | PrivateFlag(call);
  const platform::HostCall host{
      .nr = __NR_futex,
      .args = {call.addr.value(), op, call.value, call.timeout_or_value2, call.addr2.value(), call.value3}};
  return static_cast<int>(TRY(task.MakeHostCall(host, false)));
}

bool WakesOrMoves(int command) {
  return command == FUTEX_WAKE || command == FUTEX_WAKE_BITSET || command == FUTEX_REQUEUE ||
         command == FUTEX_CMP_REQUEUE || command == FUTEX_WAKE_OP;
}

Result<int> Run(Task& task, int command, const FutexCall& call) {
  if (WakesOrMoves(command) && task.HasHostFutexes()) return RunOnHost(task, command, call);
  FutexTable& futexes = task.kernel().futexes();
  const int count = static_cast<int>(call.value), count2 = static_cast<int>(call.timeout_or_value2);
  switch (command) {
    case FUTEX_WAIT:
      return Wait(task, call, FUTEX_BITSET_MATCH_ANY, TRY(ReadDeadline(task, call, true, CLOCK_MONOTONIC)));
    case FUTEX_WAIT_BITSET:
      return Wait(task, call, call.value3, TRY(ReadDeadline(task, call, false, call.clock)));
    case FUTEX_WAKE:
      return futexes.Wake(task, call.addr, call.shared, std::max(count, 1), FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET:
      return futexes.Wake(task, call.addr, call.shared, std::max(count, 1), call.value3);
    case FUTEX_REQUEUE:
      return futexes.Requeue(task, {call.addr, call.shared}, {call.addr2, call.shared}, count, count2, nullptr);
    case FUTEX_CMP_REQUEUE:
      return futexes.Requeue(task, {call.addr, call.shared}, {call.addr2, call.shared}, count, count2, &call.value3);
    case FUTEX_WAKE_OP:
      return futexes.WakeOp(task, call.addr, call.addr2, call.shared, std::max(count, 1), std::max(count2, 1),
                            call.value3);
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2: {
      const clockid_t clock = command == FUTEX_LOCK_PI ? CLOCK_REALTIME : call.clock;
      const Deadline deadline = TRY(ReadDeadline(task, call, false, clock));
      const auto locked = futexes.LockPi(task, call.addr, call.shared, deadline, false);
      if (locked.Is(kErestartsys)) return Err(kErestartnointr);
      if (!locked.ok()) return locked.error();
      return 0;
    }
    case FUTEX_WAIT_REQUEUE_PI:
      TRY(futexes.WaitRequeuePi(task, call.addr, call.addr2, call.shared, call.value, FUTEX_BITSET_MATCH_ANY,
                                TRY(ReadDeadline(task, call, false, call.clock))));
      return 0;
    case FUTEX_CMP_REQUEUE_PI:
      return futexes.CmpRequeuePi(task, call.addr, call.addr2, call.shared, count, count2, call.value3);
    case FUTEX_TRYLOCK_PI:
      TRY(futexes.LockPi(task, call.addr, call.shared, {}, true));
      return 0;
    case FUTEX_UNLOCK_PI:
      TRY(futexes.UnlockPi(task, call.addr, call.shared));
      return 0;
    default:
      return Err(ENOSYS);
  }
}

Result<int> SysFutex(Task& task, GuestAddr addr, int op, uint32_t value, uint64_t timeout_or_value2, GuestAddr addr2,
                     uint32_t value3) {
  const int command = op & FUTEX_CMD_MASK;
  const bool realtime = op & FUTEX_CLOCK_REALTIME;
  if (realtime && command != FUTEX_WAIT_BITSET && command != FUTEX_LOCK_PI2 && command != FUTEX_WAIT_REQUEUE_PI) {
    return Err(ENOSYS);
  }
  return Run(task, command,
             {addr, value, timeout_or_value2, addr2, value3, !(op & FUTEX_PRIVATE_FLAG),
              realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC});
}
SYSCALL_ROW(futex, Lane::kMayBlock, Support::kPartial, SysFutex,
            "PI locks are handed over in order, without priorities");

Result<int> SysFutexWaitv(Task& task, InPtr<abi::FutexWaitv> waiters, uint32_t count, uint32_t flags,
                          InPtr<timespec> timeout, int clock) {
  constexpr uint32_t kSize32 = 2;
  if (flags != 0 || count == 0 || count > 128 || waiters.IsNull()) return Err(EINVAL);
  Deadline deadline;
  if (!timeout.IsNull()) {
    if (clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME) return Err(EINVAL);
    const timespec ts = TRY(timeout.Read(task.memory()));
    if (!ValidTimespec(ts)) return Err(EINVAL);
    deadline = TRY(DeadlineOn(clock, ToNs(ts)));
  }
  std::vector<FutexTable::WaitVector> words;
  for (const abi::FutexWaitv& entry : TRY(waiters.ReadArray(task.memory(), count))) {
    if ((entry.flags & ~(kSize32 | FUTEX_PRIVATE_FLAG)) || !(entry.flags & kSize32) || entry.reserved) {
      return Err(EINVAL);
    }
    words.push_back({GuestAddr(entry.addr), static_cast<uint32_t>(entry.value), !(entry.flags & FUTEX_PRIVATE_FLAG)});
  }
  if (!task.HasHostFutexes()) return task.kernel().futexes().WaitMultiple(task, words, deadline);
  const platform::HostCall host{
      .nr = __NR_futex_waitv,
      .args = {waiters.addr().value(), count, 0, timeout.addr().value(), static_cast<uint64_t>(clock)}};
  return static_cast<int>(TRY(task.MakeHostCall(host, true)));
}
SYSCALL_ROW(futex_waitv, Lane::kMayBlock, Support::kFull, SysFutexWaitv, "");

constexpr uint64_t kRobustHeadSize = sizeof(abi::RobustListHead);

Result<void> SysSetRobustList(Task& task, GuestAddr head, uint64_t size) {
  if (size != kRobustHeadSize) return Err(EINVAL);
  task.robust_list.store(head.value());
  return {};
}
// It traps because stubs answer it in the trap.
SYSCALL_ROW(set_robust_list, Lane::kFull, Support::kFull, SysSetRobustList, "");

Result<void> SysGetRobustList(Task& task, int32_t tid, OutPtr<uint64_t> head, OutPtr<uint64_t> size) {
  const TaskRef target = tid == 0 ? task.shared_from_this() : task.Find(tid);
  if (target == nullptr) return Err(ESRCH);
  const bool same_user = task.creds().uid == target->creds_ref()->uid;
  if (target.get() != &task && !same_user && !task.creds().HasIn(*target->creds_ref()->user_ns, CAP_SYS_PTRACE))
    return Err(EPERM);
  TRY(size.Write(task.memory(), kRobustHeadSize));
  return head.Write(task.memory(), target->CurrentRobustList());
}
SYSCALL_ROW(get_robust_list, Lane::kShort, Support::kFull, SysGetRobustList, "");

}  // namespace
}  // namespace sandbox::syscalls
