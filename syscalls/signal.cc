// rt_sigaction(2), rt_sigprocmask(2), rt_sigpending(2), rt_sigsuspend(2), rt_sigtimedwait(2), rt_sigreturn(2),
// sigaltstack(2), pause(2), restart_syscall(2).
#include <signal.h>

#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> CheckSetSize(uint64_t size) {
  if (size != sizeof(SignalSet)) return Err(EINVAL);
  return {};
}

Result<void> SysRtSigaction(Task& task, int signo, InPtr<SignalAction> action, OutPtr<SignalAction> old,
                            uint64_t set_size) {
  TRY(CheckSetSize(set_size));
  if (!ValidSignal(signo)) return Err(EINVAL);
  const RefPtr<SignalHandlers> handlers = task.group().handlers();
  SignalAction before;
  if (action.IsNull()) {
    before = handlers->Get(signo);
  } else {
    SignalAction wanted = TRY(action.Read(task.memory()));
    if (SignalBit(signo) & kUnblockable) return Err(EINVAL);
    wanted.mask &= ~kUnblockable;
    before = handlers->Set(signo, wanted);
    task.group().DispositionChanged(signo, wanted);
  }
  if (!old.IsNull()) return old.Write(task.memory(), before);
  return {};
}
SYSCALL_ROW(rt_sigaction, Lane::kShort, Support::kFull, SysRtSigaction, "");

Result<void> SysRtSigprocmask(Task& task, int how, InPtr<SignalSet> set, OutPtr<SignalSet> old, uint64_t set_size) {
  TRY(CheckSetSize(set_size));
  const SignalSet before = task.signal_mask();
  if (!set.IsNull()) {
    const SignalSet change = TRY(set.Read(task.memory()));
    switch (how) {
      case SIG_BLOCK:
        task.SetSignalMask(before | change);
        break;
      case SIG_UNBLOCK:
        task.SetSignalMask(before & ~change);
        break;
      case SIG_SETMASK:
        task.SetSignalMask(change);
        break;
      default:
        return Err(EINVAL);
    }
  }
  if (!old.IsNull()) return old.Write(task.memory(), before);
  return {};
}
SYSCALL_ROW(rt_sigprocmask, Lane::kShort, Support::kFull, SysRtSigprocmask, "");

Result<void> SysRtSigpending(Task& task, GuestAddr out, uint64_t set_size) {
  if (set_size > sizeof(SignalSet)) return Err(EINVAL);
  const SignalSet pending = task.pending_signals() & task.signal_mask();
  return task.memory().Write(out, &pending, set_size);
}
SYSCALL_ROW(rt_sigpending, Lane::kShort, Support::kFull, SysRtSigpending, "");

Result<void> Suspend(Task& task) {
  for (;;) {
    if (const auto slept = task.Block(std::nullopt); !slept.ok()) return Err(kErestartnohand);
  }
}

Result<void> SysRtSigsuspend(Task& task, InPtr<SignalSet> set, uint64_t set_size) {
  TRY(CheckSetSize(set_size));
  task.SetTemporaryMask(TRY(set.Read(task.memory())));
  return Suspend(task);
}
SYSCALL_ROW(rt_sigsuspend, Lane::kMayBlock, Support::kFull, SysRtSigsuspend, "");

Result<void> SysPause(Task& task) { return Suspend(task); }
SYSCALL_ROW(pause, Lane::kMayBlock, Support::kFull, SysPause, "");

Result<int> SysRtSigtimedwait(Task& task, InPtr<SignalSet> set, OutPtr<SignalInfo> info, InPtr<timespec> timeout,
                              uint64_t set_size) {
  TRY(CheckSetSize(set_size));
  const SignalSet which = TRY(set.Read(task.memory()));
  Deadline deadline;
  if (!timeout.IsNull()) {
    const timespec ts = TRY(timeout.Read(task.memory()));
    if (!ValidTimespec(ts)) return Err(EINVAL);
    deadline = DeadlineAfter(ToNs(ts));
  }
  const auto take = [&]() -> Result<SignalInfo> {
    if (const auto signal = task.TakeSignal(which)) return *signal;
    return Err(EAGAIN);
  };
  auto taken = BlockUntil(task, task.signal_events(), kReadable, deadline, take);
  if (taken.Is(kErestartsys)) {
    // What ended the wait may be what was waited for, not blocked: it is taken here and not delivered.
    if (auto now = take(); now.ok()) taken = std::move(now);
  }
  if (taken.Is(ETIMEDOUT)) return Err(EAGAIN);
  if (taken.Is(kErestartsys)) return Err(EINTR);  // never restarted (signal(7))
  if (!taken.ok()) return taken.error();
  if (!info.IsNull()) TRY(info.Write(task.memory(), *taken));
  return taken->signo;
}
SYSCALL_ROW(rt_sigtimedwait, Lane::kMayBlock, Support::kFull, SysRtSigtimedwait, "");

Result<int64_t> SysRtSigreturn(Task& task) { return task.SignalReturn(); }
SYSCALL_ROW(rt_sigreturn, Lane::kFull, Support::kFull, SysRtSigreturn, "");

Result<int64_t> SysRestartSyscall(Task& task) { return task.RunRestartBlock(); }
SYSCALL_ROW(restart_syscall, Lane::kMayBlock, Support::kFull, SysRestartSyscall, "");

Result<void> SysSigaltstack(Task& task, InPtr<arch::SignalStack> stack, OutPtr<arch::SignalStack> old) {
  const arch::SignalStack before = task.signal_stack();
  if (!stack.IsNull()) TRY(task.ChangeSignalStack(TRY(stack.Read(task.memory()))));
  if (!old.IsNull()) return old.Write(task.memory(), before);
  return {};
}
SYSCALL_ROW(sigaltstack, Lane::kFull, Support::kFull, SysSigaltstack, "");

}  // namespace
}  // namespace sandbox::syscalls
