// The tracee's side of ptrace(2): where it stops, and what it does there (Linux: ptrace_stop, ptrace_signal,
// syscall_trace_enter).
#include <linux/ptrace.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {

void Task::LookAtTracer() {
  MutexLock sig(group_->sig_mu_);
  if (ptrace_trap_.load()) {
    KickLocked();
  } else {
    Kick();
  }
}

bool Task::TracedWith(uint32_t option) const {
  if (!traced()) return false;
  MutexLock tree(kernel_.tree_lock());
  return ptrace_.tracer != nullptr && (ptrace_.options & option);
}

// Sleeps until the tracer, or death, ends the stop. Nullopt: nobody traces this task.
std::optional<int> Task::PtraceStop(const PtraceReport& report, bool dying) {
  if (!thread_->has_registers()) {
    // A short call's registers come with parking it.
    thread_->BeginBlock();
    thread_->EndBlock();
  }
  if (stepping_) thread_->regs().eflags &= ~arch::kTrapFlag;
  stepping_ = false;
  // A tracer looks at the program's text, and writes into it.
  if (mm_->RestoreTexts(*thread_)) (void)thread_->FlushMemoryOps();
  {
    MutexLock tree(kernel_.tree_lock());
    if (ptrace_.tracer == nullptr || (killed_.load() && !dying)) return std::nullopt;
    ptrace_.report = report;
    ptrace_.stopped = ptrace_.unreported = true;
    ptrace_.resume = ptrace_.listening = false;
    ptrace_.signal = 0;
    sleep_state_.store('t');
    Ptrace::NotifyTracerLocked(*this, CLD_TRAPPED, report.status & 0x7f);
  }
  const int64_t since = MonotonicNow().ns;
  SleepInPtraceStop(dying);
  sleep_state_.store('R');
  slept_ns_ += MonotonicNow().ns - since;
  MutexLock tree(kernel_.tree_lock());
  ptrace_.stopped = ptrace_.unreported = ptrace_.listening = false;
  if (const auto work = std::exchange(ptrace_.work, nullptr)) {
    work->done.store(true);
    work->caller->Wake();
  }
  const auto mode = std::exchange(ptrace_.mode, PtraceState::Resume::kContinue);
  trace_syscalls_ = mode == PtraceState::Resume::kSyscall;
  emulate_syscalls_ = mode == PtraceState::Resume::kSysemu || mode == PtraceState::Resume::kSysemuStep;
  stepping_ = mode == PtraceState::Resume::kStep || mode == PtraceState::Resume::kSysemuStep;
  if (killed_.load()) return 0;
  if (stepping_) thread_->regs().eflags |= arch::kTrapFlag;
  return ptrace_.signal;
}

void Task::SleepInPtraceStop(bool dying) {
  StopSleep sleep;
  for (;;) {
    TakeKicks(sleep);
    std::shared_ptr<PtraceWork> work;
    {
      MutexLock tree(kernel_.tree_lock());
      work = std::exchange(ptrace_.work, nullptr);
      if (work == nullptr) {
        if ((killed_.load() && !dying) || ptrace_.resume || ptrace_.tracer == nullptr) break;
        if (ptrace_.listening && (ptrace_trap_.load() || !GroupIsStopping())) break;
      }
    }
    if (work == nullptr) {
      SleepInStop(sleep);
      continue;
    }
    RiseFromStop(sleep);
    work->result = work->run(*this);
    const TaskRef caller = work->caller;
    work->done.store(true);
    caller->Wake();
  }
  EndStop(sleep);
}

bool Task::GroupIsStopping() const {
  MutexLock lock(group_->sig_mu_);
  return group_->stop_requested_;
}

void Task::TracedGroupStop(int signo) {
  for (;;) {
    PtraceReport report;
    bool seized;
    {
      MutexLock tree(kernel_.tree_lock());
      seized = ptrace_.seized;
    }
    const bool stopping = GroupIsStopping();
    ptrace_trap_.store(false);
    report.status = (stopping ? signo : SIGTRAP) | (seized ? PTRACE_EVENT_STOP << 8 : 0);
    report.has_info = seized;
    report.info = SignalInfo::User(SIGTRAP, tid(), creds_->uid, report.status);
    if (!PtraceStop(report)) return;
    bool again;
    {
      MutexLock tree(kernel_.tree_lock());
      // A listener that was woken by the end of the stop or an interrupt reports once more.
      again = ptrace_.tracer != nullptr && !ptrace_.resume && !killed_.load();
      if (!again) ptrace_.resume = false;
    }
    if (!again) break;
  }
  MutexLock lock(group_->sig_mu_);
  if (traced()) stop_waived_ = group_->stop_requested_;
  RecalcSignalsLocked();
}

// An event or a system call stop; the signal it is resumed with is sent to the task (ptrace(2): other than in a
// signal-delivery-stop that is how it must be given).
void Task::ReportTrap(int status, uint64_t message, uint8_t syscall_stop) {
  PtraceReport report;
  report.status = status;
  report.message = message;
  report.info = SignalInfo::User(SIGTRAP, tid(), creds_->uid, status);
  report.syscall_stop = syscall_stop;
  const auto signal = PtraceStop(report, status >> 8 == PTRACE_EVENT_EXIT);
  if (signal.value_or(0) == 0 || killed_.load()) return;
  (void)group_->SendSignalTo(*this, SignalInfo::User(*signal, Ptrace::TracerTgid(*this), 0), SignalOrigin::kKernel);
}

void Task::ReportEvent(int event, uint64_t message) { ReportTrap(SIGTRAP | event << 8, message, 0); }

// What a signal becomes after its tracer has seen it: nullopt = nothing.
std::optional<QueuedSignal> Task::ShowToTracer(QueuedSignal signal) {
  PtraceReport report;
  report.status = signal.info.signo;
  report.info = signal.info;
  const auto resumed_with = PtraceStop(report);
  if (!resumed_with) return signal;
  if (*resumed_with == 0) return std::nullopt;
  {
    MutexLock tree(kernel_.tree_lock());
    signal.info = ptrace_.report.info;  // SETSIGINFO
  }
  if (signal.info.signo != *resumed_with) {
    signal.info = SignalInfo::User(*resumed_with, Ptrace::TracerTgid(*this), 0);
  }
  MutexLock lock(group_->sig_mu_);
  if (!(mask_.load() & SignalBit(*resumed_with))) return signal;
  pending_.Add(signal);
  return std::nullopt;
}

void Task::ServePtraceTrap() {
  ptrace_trap_.store(false);
  if (exec_from_tid_ != 0) {
    ReportExec();
  } else if (traced()) {
    ReportEvent(PTRACE_EVENT_STOP, 0);
  }
  MutexLock lock(group_->sig_mu_);
  RecalcSignalsLocked();
}

void Task::LoadCall(platform::Trap& call) {
  const arch::Registers& regs = thread_->regs();
  call.nr = regs.syscall_nr();
  for (int i = 0; i < 6; ++i) call.args[i] = regs.syscall_arg(i);
  call.ip = GuestAddr(regs.ip());
  restart_nr_ = call.nr;
  restart_ip_ = regs.ip();
}

void Task::ServeWatchedCall(const platform::Trap& trap) {
  platform::Trap call = trap;
  bool skip = false;
  if (traced() && (trace_syscalls_ || emulate_syscalls_)) {
    const bool emulated = emulate_syscalls_;
    thread_->SetReturn(-ENOSYS);
    ReportTrap(SIGTRAP | (TracedWith(PTRACE_O_TRACESYSGOOD) ? 0x80 : 0), PTRACE_EVENTMSG_SYSCALL_ENTRY,
               PTRACE_SYSCALL_INFO_ENTRY);
    if (killed_.load()) return;
    LoadCall(call);
    skip = emulated || static_cast<int64_t>(call.nr) < 0;
  }
  std::optional<Result<int64_t>> answer;
  if (!skip && seccomp_mode() != SECCOMP_MODE_DISABLED) answer = CheckSeccomp(call, &skip);
  if (!skip) FinishCall(answer ? *answer : kernel_.options().dispatch(*this, call.nr, call.args));
  if (exit_requested_ || killed_.load()) return;
  if (start_on_return_) {
    // The new program's thread reports when it starts, before its first instruction.
    ptrace_trap_.store(exec_from_tid_ != 0);
    LookAtTracer();
    return;
  }
  if (traced() && trace_syscalls_ && !killed_.load()) {
    ReportTrap(SIGTRAP | (TracedWith(PTRACE_O_TRACESYSGOOD) ? 0x80 : 0), PTRACE_EVENTMSG_SYSCALL_EXIT,
               PTRACE_SYSCALL_INFO_EXIT);
  } else if (stepping_) {
    // The step was over the call's instruction.
    ForceSignal(SignalInfo::Fault(SIGTRAP, TRAP_BRKPT, call.ip.value()));
  }
}

void Task::ReportExec() {
  const auto old_tid = static_cast<uint64_t>(std::exchange(exec_from_tid_, 0));
  if (!traced()) return;
  arch::Registers& regs = thread_->regs();
  regs.orig_rax = __NR_execve;
  if (TracedWith(PTRACE_O_TRACEEXEC)) {
    ReportEvent(PTRACE_EVENT_EXEC, old_tid);
  } else if (!IsSeized()) {
    (void)group_->SendSignalTo(*this, SignalInfo::User(SIGTRAP, tgid(), creds_->uid), SignalOrigin::kKernel);
  }
  if (traced() && trace_syscalls_ && !killed_.load()) {
    ReportTrap(SIGTRAP | (TracedWith(PTRACE_O_TRACESYSGOOD) ? 0x80 : 0), PTRACE_EVENTMSG_SYSCALL_EXIT,
               PTRACE_SYSCALL_INFO_EXIT);
  }
  thread_->regs().orig_rax = arch::kNoSyscall;
}

std::optional<Result<int64_t>> Task::AskTracer(uint16_t data, bool* skip) {
  if (!TracedWith(PTRACE_O_TRACESECCOMP)) return Result<int64_t>(Err(ENOSYS));
  thread_->SetReturn(-ENOSYS);
  ReportTrap(SIGTRAP | PTRACE_EVENT_SECCOMP << 8, data, PTRACE_SYSCALL_INFO_SECCOMP);
  if (killed_.load()) return Result<int64_t>(Err(ENOSYS));
  *skip = static_cast<int64_t>(thread_->regs().syscall_nr()) < 0;
  return std::nullopt;
}

bool Task::IsSeized() const {
  MutexLock tree(kernel_.tree_lock());
  return ptrace_.seized;
}

// PTRACE_POKETEXT and writes of breakpoints: also where the guest itself may not write (Linux: FOLL_FORCE).
Result<void> Task::ForceWrite(GuestAddr addr, const void* from, size_t size) {
  if (mm_->Write(addr, from, size).ok()) return {};
  if (mm_->RestoreTexts(*thread_)) TRY(thread_->FlushMemoryOps());
  const std::optional<Vma> vma = mm_->Find(addr);
  if (!vma || vma->shared || !vma->range.Contains(GuestRange{addr, addr + size})) return Err(EIO);
  const GuestAddr first = addr.PageDown();
  const GuestAddr end = (addr + (size - 1)).PageDown() + kPageSize;
  using Kind = platform::MemoryOp::Kind;
  thread_->QueueMemoryOp({.kind = Kind::kProtect, .range = {first, end}, .prot = vma->prot | PROT_WRITE | PROT_READ});
  TRY(thread_->FlushMemoryOps());
  const auto written = mm_->Write(addr, from, size);
  thread_->QueueMemoryOp({.kind = Kind::kProtect, .range = {first, end}, .prot = vma->prot});
  TRY(thread_->FlushMemoryOps());
  if (!written.ok()) return Err(EIO);
  return {};
}

void Task::RegistersChanged() {
  // A tracer that changed the result, or said that there is no call, wants no restart.
  const arch::Registers& regs = thread_->regs();
  if (regs.orig_rax == arch::kNoSyscall || static_cast<int64_t>(regs.rax) != -int64_t{restart_code_}) restart_code_ = 0;
}

}  // namespace sandbox
