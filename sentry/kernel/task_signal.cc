// What a task does about its signals: masks, forced faults, delivery to handlers, default actions, restarts
// (Linux: kernel/signal.c get_signal, arch/x86/kernel/signal.c).
#include <sys/syscall.h>

#include <cstring>

#include "sentry/kernel/job_control.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

constexpr uint64_t kSaRestorer = 0x04000000;

}  // namespace

// With the group's sig_mu_ held.
void Task::RecalcSignalsLocked() NO_THREAD_SAFETY_ANALYSIS {
  const SignalSet pending = pending_.set() | group_->pending_.set();
  if (thread_ != nullptr) thread_->SetSignalsPending(pending != 0);
  const SignalSet ready = pending & ~mask_.load();
  const bool stop = group_->stop_requested_ && !stop_waived_;
  signal_work_.store(ready != 0 || killed_.load() || stop || group_->pending_notice_ != 0 || ptrace_trap_.load() ||
                     group_->cgroup().frozen());
}

void Task::StoreMask(SignalSet mask) {
  mask_.store(mask);
  if (thread_ != nullptr) thread_->SetSignalMask(mask);
}

// The guest may have changed it since the last trap.
void Task::TakeOverState() {
  const auto settled = thread_->TakeSettled();
  if (settled.robust_list) robust_list.store(*settled.robust_list);
  if (settled.tid_address) clear_child_tid.store(*settled.tid_address);
  if (settled.rseq) NoteRseq(*settled.rseq);
  if (const auto mask = thread_->SignalMask(); mask && (*mask & ~kUnblockable) != mask_.load()) SetSignalMask(*mask);
  const auto defaulted = thread_->TakeDefaultedActions();
  if (defaulted.set == 0) return;
  constexpr uint64_t kSaRestorer = 0x04000000;
  MutexLock lock(group_->sig_mu_);
  SignalAction action;
  action.flags = defaulted.restorer != 0 ? kSaRestorer : 0;
  action.restorer = defaulted.restorer;
  for (SignalSet rest = defaulted.set & group_->handlers_->untouched() & ~kUnblockable; rest != 0; rest &= rest - 1) {
    group_->handlers_->Set(__builtin_ctzll(rest) + 1, action);
  }
  group_->ShowActionsLocked();
}

SignalSet Task::LiveMaskLocked() const {
  if (thread_ == nullptr) return mask_.load();
  return thread_->SignalMask().value_or(mask_.load()) & ~kUnblockable;
}

SignalSet Task::blocked_signals() const {
  MutexLock lock(group_->sig_mu_);
  return LiveMaskLocked();
}

void Task::ShareSignalState() {
  MutexLock lock(group_->sig_mu_);
  StoreMask(mask_.load());
  thread_->SetSignalsPending((pending_.set() | group_->pending_.set()) != 0);
  thread_->SetSignalStack(signal_stack_);
  const bool sole = group_->tasks_.empty() || (group_->tasks_.size() == 1 && group_->tasks_.front() == this);
  thread_->SetUntouchedActions(group_->handlers_->untouched(), sole);
}

void Task::SetSignalMask(SignalSet mask) {
  mask &= ~kUnblockable;
  if (mask == mask_.load() && !signal_work_.load()) return;
  MutexLock lock(group_->sig_mu_);
  const SignalSet blocked_now = mask & ~mask_.load();
  StoreMask(mask);
  RecalcSignalsLocked();
  // Signals to the process that this thread was to take go to another (Linux: retarget_shared_pending).
  if ((group_->pending_.set() & blocked_now) == 0) return;
  for (Task* other : group_->tasks_) {
    if (other != this && (group_->pending_.set() & blocked_now & ~other->LiveMaskLocked())) other->KickLocked();
  }
}

void Task::SetTemporaryMask(SignalSet mask) {
  if (!saved_mask_) saved_mask_ = mask_.load();
  SetSignalMask(mask);
}

SignalSet Task::pending_signals() const {
  MutexLock lock(group_->sig_mu_);
  return pending_.set() | group_->pending_.set();
}

SignalSet Task::own_pending_signals() const {
  MutexLock lock(group_->sig_mu_);
  return pending_.set();
}

std::optional<SignalInfo> Task::TakeSignal(SignalSet which) {
  which &= ~kUnblockable;
  std::optional<QueuedSignal> taken;
  {
    MutexLock lock(group_->sig_mu_);
    taken = pending_.Take(which);
    if (!taken) taken = group_->pending_.Take(which);
    if (!taken) return std::nullopt;
    RecalcSignalsLocked();
  }
  if (taken->before_delivery) taken->before_delivery(*taken);
  return taken->info;
}

void Task::RaiseSignal(int signo) { raised_.fetch_or(SignalBit(signo)); }

void Task::QueueRaised() {
  for (SignalSet rest = raised_.exchange(0); rest != 0; rest &= rest - 1) {
    const int signo = __builtin_ctzll(rest) + 1;
    (void)group_->SendSignalTo(*this, SignalInfo::User(signo, tgid(), creds_->uid), SignalOrigin::kKernel);
  }
}

void Task::ForceSignal(const SignalInfo& info, uint64_t trapno, uint64_t error) {
  fault_trapno_ = trapno;
  fault_error_ = error;
  MutexLock lock(group_->sig_mu_);
  const int signo = info.signo;
  const bool blocked = mask_.load() & SignalBit(signo);
  const SignalAction action = group_->handlers_->Get(signo);
  if (blocked || action.is_ignore()) group_->handlers_->Set(signo, SignalAction{});
  if (blocked) StoreMask(mask_.load() & ~SignalBit(signo));
  // A fault kills even pid 1 (Linux: force_sig_info clears SIGNAL_UNKILLABLE).
  if (blocked || !action.handler || action.is_ignore()) group_->unkillable_ = false;
  pending_.Discard(SignalBit(signo));
  pending_.Add({info});
  signal_work_.store(true);
}

void Task::DeliverSignals() {
  for (;;) {
    std::optional<QueuedSignal> next;
    {
      MutexLock lock(group_->sig_mu_);
      const bool stop = group_->stop_requested_ && !stop_waived_;
      if (killed_.load() || stop || group_->pending_notice_ != 0 || ptrace_trap_.load()) return;
      const SignalSet allowed = ~mask_.load();
      next = pending_.Take(allowed);
      if (!next) next = group_->pending_.Take(allowed);
      RecalcSignalsLocked();
    }
    if (!next) return RestartCall(nullptr);
    if (next->before_delivery) next->before_delivery(*next);
    if (traced() && next->info.signo != SIGKILL) {
      next = ShowToTracer(std::move(*next));
      if (killed_.load()) return;
      if (!next) continue;
    }
    DeliverOne(*next);
    if (exit_requested_) return;
  }
}

void Task::DeliverOne(const QueuedSignal& signal) {
  const int signo = signal.info.signo;
  const RefPtr<SignalHandlers> handlers = group_->handlers();
  const SignalAction action = handlers->Get(signo);
  if (action.is_ignore()) return;
  if (action.is_default()) return ApplyDefault(signal.info);
  RestartCall(&action);
  if (action.flags & SA_RESETHAND) {
    SignalAction reset = action;
    reset.handler = 0;
    handlers->Set(signo, reset);
  }
  const bool stepping = std::exchange(stepping_, false);
  if (stepping) thread_->regs().eflags &= ~arch::kTrapFlag;
  if (!PushFrame(signal.info, action).ok()) {
    // No room for the frame (Linux: force_sigsegv): a second failure must not loop.
    if (signo == SIGSEGV) handlers->Set(SIGSEGV, SignalAction{});
    return ForceSignal(SignalInfo::Kernel(SIGSEGV));
  }
  SignalSet mask = mask_.load() | action.mask;
  if (!(action.flags & SA_NODEFER)) mask |= SignalBit(signo);
  SetSignalMask(mask);
  if (stepping && traced()) ReportTrap(SIGTRAP, 0, 0);  // the step ends at the handler's first instruction
}

void Task::ApplyDefault(const SignalInfo& info) {
  const int signo = info.signo;
  const DefaultAction action = DefaultActionOf(signo);
  if (action == DefaultAction::kIgnore || action == DefaultAction::kContinue) return;
  if (action == DefaultAction::kStop) {
    // A stop from the terminal makes no sense when nobody could continue the group.
    if (signo != SIGSTOP && IsOrphanedProcessGroup(*group_)) return;
    MutexLock lock(group_->sig_mu_);
    if (!group_->unkillable_ || signo == SIGSTOP) group_->BeginStopLocked(signo);
    return;
  }
  // pid 1 got here only for a signal that may kill it, or one that was blocked when it came.
  {
    MutexLock lock(group_->sig_mu_);
    if (group_->unkillable_ && signo != SIGKILL) return;
  }
  constexpr int kDumped = 0x80;  // WCOREFLAG
  ExitGroup(action == DefaultAction::kCore && DumpCore(info) ? signo | kDumped : signo);
}

void Task::RestartCall(const SignalAction* handler) {
  const int code = std::exchange(restart_code_, 0);
  if (code == 0) return;
  bool restart = handler == nullptr;
  if (code == kErestartnointr) restart = true;
  if (code == kErestartsys && handler != nullptr) restart = handler->flags & SA_RESTART;
  arch::Registers& regs = thread_->regs();
  if (!restart) return regs.set_return_value(static_cast<uint64_t>(-EINTR));
  arch::RestartSyscall(regs, code == kErestartRestartblock ? __NR_restart_syscall : restart_nr_);
}

Result<int64_t> Task::RunRestartBlock() {
  if (!restart_block_) return Err(EINTR);
  const RestartBlock block = std::exchange(restart_block_, nullptr);
  return block(*this);
}

Result<void> Task::PushFrame(const SignalInfo& info, const SignalAction& action) {
  if (!(action.flags & kSaRestorer)) return Err(EFAULT);
  AbortRseq();
  arch::Registers& regs = thread_->regs();
  arch::FrameInput input;
  input.handler = action.handler;
  input.restorer = action.restorer;
  input.signo = info.signo;
  std::memcpy(input.info.data(), &info, sizeof(info));
  input.mask = saved_mask_.value_or(mask_.load());
  input.stack = signal_stack_;
  const bool on_stack = OnSignalStack(regs.sp());
  input.switch_stack = (action.flags & SA_ONSTACK) && signal_stack_.size != 0 && !on_stack;
  input.trapno = fault_trapno_;
  input.error = fault_error_;
  input.fault_address = fault_address_;
  const auto built = arch::BuildFrame(regs, thread_->FpStateSize(), input);
  if (!built) return Err(EFAULT);
  if ((on_stack || input.switch_stack) && built->address < signal_stack_.sp) return Err(EFAULT);
  if (!thread_->PushFrame(*built).ok()) {
    // It may reach below what the stack has grown to.
    if (!mm_->GrowStack(*this, *thread_, GuestAddr(built->address))) return Err(EFAULT);
    TRY(thread_->FlushMemoryOps());
    TRY(thread_->PushFrame(*built));
  }
  arch::EnterHandler(regs, *built, input);
  saved_mask_.reset();
  if (signal_stack_.flags & kSsAutodisarm) signal_stack_ = {.flags = SS_DISABLE};
  thread_->SetSignalStack(signal_stack_);
  return {};
}

// The handler was about to start.
void Task::ServeFailedFrame(const platform::Trap& trap) {
  const arch::BuiltFrame& built = trap.failed_frame;
  if (mm_->GrowStack(*this, *thread_, GuestAddr(built.address)) && thread_->FlushMemoryOps().ok() &&
      thread_->PushFrame(built).ok()) {
    return;
  }
  // As if it had failed at once.
  arch::RestoreRegisters(thread_->regs(), built.frame.user.context);
  SetSignalMask(built.frame.user.mask);
  signal_stack_ = built.frame.user.stack;
  thread_->SetSignalStack(signal_stack_);
  int32_t signo;
  std::memcpy(&signo, built.frame.info.data(), sizeof(signo));
  if (signo == SIGSEGV) group_->handlers()->Set(SIGSEGV, SignalAction{});
  ForceSignal(SignalInfo::Kernel(SIGSEGV));
}

bool Task::OnSignalStack(uint64_t sp) const {
  // An auto-disarmed stack counts as left as soon as its handler runs.
  if (signal_stack_.flags & kSsAutodisarm) return false;
  return sp > signal_stack_.sp && sp - signal_stack_.sp <= signal_stack_.size;
}

arch::SignalStack Task::signal_stack() const {
  arch::SignalStack stack = signal_stack_;
  if (stack.size == 0)
    stack.flags = SS_DISABLE;
  else if (OnSignalStack(thread_->regs().sp()))
    stack.flags |= SS_ONSTACK;
  return stack;
}

Result<void> Task::ChangeSignalStack(const arch::SignalStack& stack) {
  if (OnSignalStack(thread_->regs().sp())) return Err(EPERM);
  const int mode = stack.flags & ~kSsAutodisarm;
  if (mode != 0 && mode != SS_ONSTACK && mode != SS_DISABLE) return Err(EINVAL);
  if (mode != SS_DISABLE && stack.size < kMinSignalStack) return Err(ENOMEM);
  signal_stack_ = mode == SS_DISABLE ? arch::SignalStack{.flags = stack.flags} : stack;
  thread_->SetSignalStack(signal_stack_);
  return {};
}

Result<int64_t> Task::SignalReturn() {
  arch::Registers& regs = thread_->regs();
  const auto restore = [&]() -> Result<void> {
    arch::SignalFrame frame;
    // siginfo is not read back.
    TRY(mm_->Read(GuestAddr(arch::FrameAddress(regs)), &frame, offsetof(arch::SignalFrame, info)));
    const GuestAddr fp_addr(frame.user.context.fpstate);
    std::vector<uint8_t> fp;
    if (!fp_addr.IsNull()) {
      fp.resize(arch::kLegacyFpSize);
      TRY(mm_->Read(fp_addr, fp.data(), fp.size()));
      const size_t size = arch::SavedFpSize(fp);
      fp.resize(size);
      TRY(mm_->Read(fp_addr + arch::kLegacyFpSize, fp.data() + arch::kLegacyFpSize, size - arch::kLegacyFpSize));
    }
    TRY(thread_->SetFpState(fp));
    arch::RestoreRegisters(regs, frame.user.context);
    SetSignalMask(frame.user.mask);
    (void)ChangeSignalStack(frame.user.stack);
    return {};
  };
  if (!restore().ok()) {
    ForceSignal(SignalInfo::Kernel(SIGSEGV));
    return 0;
  }
  return static_cast<int64_t>(regs.return_value());
}

}  // namespace sandbox
