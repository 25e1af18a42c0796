// From a trap to the guest's next instruction (Linux: entry_64.S, exit_to_user_mode_loop).
#include <sys/syscall.h>

#include "base/log.h"
#include "sentry/core/deferred.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/syscall_profile.h"
#include "sentry/kernel/task.h"

namespace sandbox {

void Task::RunTrap(const platform::Trap& trap) {
  in_guest_.store(false);
  serving_trap_ = true;
  const bool image_is_new = std::exchange(image_is_new_, false);
  const int64_t start = MonotonicNow().ns;
  slept_ns_ = 0;
  waited_ns_ = trap.waited_ns;
  TakeOverState();
  const auto lane = trap.fast                  ? SyscallProfile::Lane::kFast
                    : thread_->has_registers() ? SyscallProfile::Lane::kTrapped
                                               : SyscallProfile::Lane::kNotified;
  bool recorded = trap.kind != platform::Trap::Kind::kSyscall;
  if (image_is_new && trap.kind == platform::Trap::Kind::kMemoryOpFailed) {
    ExitGroup(SIGSEGV);  // Linux: past the point of no return in exec
  } else {
    ServeTrap(trap);
  }
  for (;;) {
    if (!PrepareToResume()) {
      start_on_return_ = false;  // killed in exec: the new thread is gone with the task
      return;
    }
    const int64_t busy_ns = MonotonicNow().ns - start - slept_ns_;
    system_ns_.fetch_add(std::max<int64_t>(busy_ns, 0));
    if (!std::exchange(recorded, true)) SyscallProfile::Record(trap.nr, lane, busy_ns, slept_ns_);
    slept_ns_ = 0;
    serving_trap_ = false;
    in_guest_.store(true);
    if (!HasWork() || start_on_return_) break;
    if (!thread_->has_registers()) {
      // A notification can only be answered; the interrupt's trap brings the registers that
      // delivery needs.
      thread_->Interrupt();
      break;
    }
    in_guest_.store(false);
    serving_trap_ = true;
  }
}

bool Task::HasWork() const { return signal_work_.load() || raised_.load() != 0 || restart_code_ != 0; }

void Task::ServeTrap(const platform::Trap& trap) {
  using Kind = platform::Trap::Kind;
  if (trap.kind != Kind::kDead && trap.kind != Kind::kMemoryOpFailed) mm_->OpsExecuted(*thread_);
  switch (trap.kind) {
    case Kind::kSyscall:
      return ServeSyscall(trap);
    case Kind::kFault:
      return ServeFault(trap.fault);
    case Kind::kFrameFailed:
      return ServeFailedFrame(trap);
    case Kind::kMemoryOpFailed:
      return ServeFailedOp(trap);
    case Kind::kInterrupt:
      // A short call that has to restart waits for this trap; if the guest moved on, it has seen
      // EINTR.
      if (restart_code_ != 0 && thread_->regs().ip() != restart_ip_) restart_code_ = 0;
      return;
    case Kind::kDead:
      host_thread_dead_ = true;
      if (trap.failed_errno != 0) {
        // It was never made, which its creator was told: nobody waits for it.
        clear_child_tid.store(0);
        return Exit(0);
      }
      // The OOM killer or a crash of the stub took the process (ARCHITECTURE §1).
      return ExitGroup(ValidSignal(trap.death_signal) ? trap.death_signal : SIGKILL);
  }
  LOGF(kWarning, "task %d: unknown trap, killed", tid());
  ExitGroup(SIGKILL);
}

void Task::ServeSyscall(const platform::Trap& trap) {
  restart_code_ = 0;
  restart_nr_ = trap.nr;
  restart_ip_ = trap.ip.value();
  current_syscall_.store(static_cast<int64_t>(trap.nr));
  if (!traced() && !trap.fast) mm_->NoteSlowCall(*thread_, trap.ip);  // a tracer sees the text as it was mapped
  if (dispatches_to_user_.load() && DispatchToUser(trap)) {
    // A handler serves it.
  } else if (traced() || seccomp_mode() != SECCOMP_MODE_DISABLED) {
    ServeWatchedCall(trap);
  } else {
    FinishCall(kernel_.options().dispatch(*this, trap.nr, trap.args));
  }
  current_syscall_.store(-1);
}

void Task::FinishCall(Result<int64_t> result) {
  const int error = result.ok() ? 0 : result.error().value();
  // A wait under a temporary mask that was not interrupted leaves signals of that mask pending.
  if (saved_mask_ && error < kErestartsys && error != EINTR) SetSignalMask(*std::exchange(saved_mask_, std::nullopt));
  if (result.ok()) return thread_->SetReturn(*result);
  switch (error) {
    case kErestartsys:
    case kErestartnointr:
    case kErestartnohand:
    case kErestartRestartblock:
      // What the guest sees if it can only be told now; normally RestartCall replaces it.
      restart_code_ = error;
      return thread_->SetReturn(traced() ? -error : -EINTR);  // tracers know what the kernel calls it
    default:
      return thread_->SetReturn(-error);
  }
}

void Task::ServeFault(const platform::Fault& fault) {
  restart_code_ = 0;
  if (fault.signo == SIGSEGV && mm_->GrowStack(*this, *thread_, fault.address)) return;
  if (!ValidSignal(fault.signo)) return ExitGroup(SIGKILL);
  fault_address_ = fault.address.value();
  ForceSignal(SignalInfo::Fault(fault.signo, fault.code, fault.address.value()), fault.trapno, fault.error);
}

void Task::ServeFailedOp(const platform::Trap& trap) {
  // The call that queued the op has been answered with success; it is answered again.
  if (trap.failed_op.kind == platform::MemoryOp::Kind::kRseq) rseq_ = {};
  const auto answer = mm_->OpFailed(*thread_, trap.failed_op, trap.failed_errno);
  if (trap.failed_errno != 0 && answer) thread_->SetReturn(*answer);
}

bool Task::PrepareToResume() {
  for (;;) {
    RunDeferred();
    QueueRaised();
    if (exit_requested_ || killed_.load()) {
      RunExit();
      return false;
    }
    if (start_on_return_) {
      // The new program's thread cannot stop before it has started: it traps at once.
      if (HasWork()) thread_->Interrupt();
      return true;
    }
    if (ptrace_trap_.load()) {
      ServePtraceTrap();
      continue;
    }
    if (signal_work_.load()) {
      if (ServeJobControl()) continue;
    }
    if (signal_work_.load() || restart_code_ != 0) {
      if (!thread_->has_registers()) return true;
      DeliverSignals();
      if (HasWork()) continue;
    }
    if (!saved_mask_) return true;
    // No handler ran: the temporary mask ends with the call.
    SetSignalMask(*std::exchange(saved_mask_, std::nullopt));
    if (!HasWork()) return true;
  }
}

bool Task::ServeJobControl() {
  bool stop;
  int notice;
  {
    MutexLock lock(group_->sig_mu_);
    stop = group_->stop_requested_ && !stop_waived_;
    notice = std::exchange(group_->pending_notice_, 0);
  }
  const bool freeze = group_->cgroup().frozen();
  if (notice != 0) group_->NotifyParentOfJobControl(notice, SIGCONT);
  if (freeze) FreezeHere();
  if (stop) StopHere();
  if (!freeze && !stop && notice == 0) return false;
  MutexLock lock(group_->sig_mu_);
  RecalcSignalsLocked();
  return true;
}

}  // namespace sandbox
