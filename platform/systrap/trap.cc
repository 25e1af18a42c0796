// A guest thread's life between traps: delivery, service, resumption, interruption, death.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>

#include "base/log.h"
#include "platform/arch/cycle_counter.h"
#include "platform/systrap/guest_thread.h"
#include "platform/systrap/platform.h"
#include "platform/systrap/router.h"

namespace sandbox::platform::systrap {
GuestThread::GuestThread(StubPlatform& platform, RefPtr<Listener> listener, RefPtr<SharedPage> page,
                         RefPtr<StubSpace> space, TrapHandler& handler, uint32_t slot)
    : platform_(platform),
      listener_(std::move(listener)),
      page_(std::move(page)),
      space_(std::move(space)),
      handler_(handler),
      slot_(slot),
      data_(*page_) {
  platform_.spin().AddThread(&(*page_)->asleep_in);
}

GuestThread::~GuestThread() { platform_.spin().RemoveThread(&(*page_)->asleep_in); }

void GuestThread::Adopt(RefPtr<HostProcess> process, UniqueFd socket) {
  tid_ = process->pid();
  process_ = std::move(process);
  process_->AddThread(shared_from_this());
  socket_ = std::move(socket);
  hold_ = Hold::kFresh;
  registers_loaded_ = true;
  MutexLock lock(mu_);
  in_round_ = false;
}

bool GuestThread::Deliver(const Notification& notification) {
  const char* broken = nullptr;
  if (notification.nr == SYS_clone) {
    // The filter notifies no clone but the stub's.
    if (ApproveClone(notification)) return false;
    broken = "clones without approval";
  } else {
    MutexLock lock(mu_);
    if (dead_ || state_ == State::kExited) return false;
    if (in_round_) {
      if (notification.nr == stub::kDoorbell && !bell_) {
        bell_ = notification;
        if (calling_) handler_.HandleCallEnded();
      } else {
        broken = "calls in the middle of a command";
      }
    } else if (state_ == State::kRunning) {
      state_ = State::kServing;
      return true;
    } else {
      broken = "calls while it is stopped";
    }
  }
  if (broken != nullptr) KillHostile(broken);
  listener_->Wakeup();
  return false;
}

std::optional<Trap> GuestThread::ReadTrap(const Notification& notification) {
  notification_ = notification.id;
  usage_came_ = false;
  const bool clone_failed =
      notification.nr == stub::kDoorbell && notification.args[0] == static_cast<uint64_t>(stub::Bell::kCloneFailed);
  if (!clone_failed) CloneIsOver();
  if (std::exchange(filling_, false)) space_->SetFilling(nullptr);
  if (notification.nr == stub::kDoorbell) {
    hold_ = Hold::kRung;
    return ReadBell(static_cast<stub::Bell>(notification.args[0]));
  }
  hold_ = Hold::kNotified;
  fast_ = false;
  data_.DropInputs();
  output_failed_ = false;
  posted_ops_.clear();
  registers_loaded_ = false;
  return_set_ = false;
  return_value_ = -ENOSYS;
  call_nr_ = notification.nr;
  Trap trap;
  trap.nr = notification.nr;
  std::copy(std::begin(notification.args), std::end(notification.args), trap.args.begin());
  trap.ip = GuestAddr(space_->trampolines().Shown(notification.ip));
  return trap;
}

std::optional<Trap> GuestThread::ReadBell(stub::Bell bell) {
  if (bell == stub::Bell::kFast) return ReadFast(Hold::kRung);
  Trap trap;
  if (bell == stub::Bell::kWaited) {
    trap = ReadFast(Hold::kRung);
    trap.waited_ns = platform_.spin().Nanoseconds(arch::CycleCounter() - (*page_)->slept_since);
    return trap;
  }
  if (bell == stub::Bell::kFrameFailed) {
    if (!posted_push_ || !registers_loaded_) return std::nullopt;
    trap.kind = Trap::Kind::kFrameFailed;
    trap.failed_frame = *std::exchange(posted_push_, std::nullopt);
    return trap;
  }
  if (bell == stub::Bell::kCloneFailed) {
    const RefPtr<GuestThread> child = cloning_;
    if (child == nullptr || !registers_loaded_) return std::nullopt;
    CloneIsOver();
    FailClone(*child, (*page_)->result);
    return std::nullopt;
  }
  if (bell == stub::Bell::kOpFailed) {
    // The registers are those of the resume that did not happen.
    const uint32_t index = (*page_)->failed_index;
    const int error = (*page_)->failed_errno;
    if (index >= posted_ops_.size() || (!registers_loaded_ && !fast_)) return std::nullopt;
    trap.kind = Trap::Kind::kMemoryOpFailed;
    trap.failed_op = std::move(posted_ops_[index]);
    trap.failed_errno = error > 0 && error < 4096 ? error : EFAULT;
    posted_ops_.clear();
    return trap;
  }
  posted_ops_.clear();
  fast_ = false;
  data_.DropInputs();
  output_failed_ = false;
  LoadRegisters();
  trap.ip = GuestAddr(registers_.rip);
  switch (bell) {
    case stub::Bell::kSyscall:
      registers_.orig_rax = static_cast<uint32_t>(registers_.orig_rax);
      trap.nr = registers_.orig_rax;
      usage_came_ = stub::BringsUsage(trap.nr);
      for (int i = 0; i < 6; ++i) trap.args[i] = registers_.syscall_arg(i);
      registers_.rax = -ENOSYS;
      return trap;
    case stub::Bell::kFault: {
      trap.kind = Trap::Kind::kFault;
      const int signo = (*page_)->fault_signo;
      // Came to where a rewritten site has an instruction of the original: goes on with it in the zone.
      if (signo == SIGILL && space_->trampolines().InsideJump(registers_.rip)) return std::nullopt;
      const bool known = signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE || signo == SIGILL || signo == SIGTRAP;
      trap.fault.signo = known ? signo : SIGSEGV;
      trap.fault.code = (*page_)->fault_code;
      trap.fault.address = GuestAddr((*page_)->fault_address);
      trap.fault.trapno = (*page_)->fault_trapno;
      trap.fault.error = (*page_)->fault_error;
      return trap;
    }
    case stub::Bell::kSignals: {
      trap.kind = Trap::Kind::kInterrupt;
      MutexLock lock(mu_);
      interrupt_ = false;
      return trap;
    }
    case stub::Bell::kInterrupt: {
      trap.kind = Trap::Kind::kInterrupt;
      MutexLock lock(mu_);
      // A signal that was overtaken by another trap, which served the interrupt.
      if (!std::exchange(interrupt_, false)) return std::nullopt;
      return trap;
    }
    default:
      KillHostile("unexpected bell");
      return std::nullopt;
  }
}

void GuestThread::ServeTrap(const Notification& notification) {
  (void)handover_.load(std::memory_order_acquire);
  ServingScope scope(this);
  Serve(ReadTrap(notification));
}

void GuestThread::Serve(const std::optional<Trap>& trap) {
  if (!trap || Handle(*trap) == TrapHandler::Served::kDone) Finish();
}

void GuestThread::Finish() {
  Trap next;
  while (FinishTrap(&next)) {
    if (Handle(next) == TrapHandler::Served::kDeferred) return;
  }
}

TrapHandler::Served GuestThread::Handle(const Trap& trap) { return handler_.HandleTrap(*facade_, trap); }

void GuestThread::Proceed(Thread::Where where) {
  if (where == Thread::Where::kHere) {
    const RefPtr<GuestThread> self = shared_from_this();
    ServeDeferred();
  } else {
    platform_.workers().ServeDeferred(shared_from_this());
  }
}

void GuestThread::ServeDeferred() {
  (void)handover_.load(std::memory_order_acquire);
  ServingScope scope(this);
  if (handler_.HandleDeferred(*facade_) == TrapHandler::Served::kDone) Finish();
  // The calling worker need not be on duty at this listener.
  if (listener_->NeedsWorker()) platform_.workers().DispatchAfterTrap(listener_);
}

// After a handler returned: resumes the guest, unless there is something else to tell first (`next`).
bool GuestThread::FinishTrap(Trap* next) {
  {
    MutexLock lock(mu_);
    if (state_ == State::kExited) return false;
  }
  *next = Trap();
  if (!ops_.empty()) SettleClone();
  clone_ = TakeClone();
  // The host would act on a kernel-internal restart code if a signal came; parked, the value goes in by sigreturn.
  if (hold_ == Hold::kNotified && return_value_ <= -512 && return_value_ >= -516) EnsureRegisters();
  // What does not fit into the answer is executed first.
  Result<void> prepared = PrepareOps();
  while (prepared.ok() && ops_.size() > stub::kMaxOps) {
    prepared = Round(stub::Command::kRing, stub::kMaxOps);
    if (!prepared.ok() && prepared.error().value() != ESRCH) {
      const uint32_t index = (*page_)->failed_index;
      next->kind = Trap::Kind::kMemoryOpFailed;
      next->failed_errno = prepared.error().value();
      if (index < posted_ops_.size()) next->failed_op = std::move(posted_ops_[index]);
      posted_ops_.clear();
      ops_.clear();
      return true;
    }
  }
  bool interrupted = false, signal = false;
  {
    MutexLock lock(mu_);
    if (dead_) {
      if (std::exchange(death_told_, true)) return false;
      next->kind = Trap::Kind::kDead;
      next->death_signal = death_signal_;
      return true;
    }
    if (interrupt_ && hold_ == Hold::kNotified) {
      signal = true;  // taken as soon as the answer lets the call return
    } else if (interrupt_) {
      interrupt_ = false;
      interrupted = true;
    }
    if (!interrupted) {
      if (clone_ != nullptr) {
        // Before a control signal can be sent.
        (*page_)->cloning = 1;
        in_clone_ = true;
      }
      state_ = State::kRunning;
    }
  }
  if (!interrupted) {
    if (signal) SendControlSignal();
    Resume();
    return false;
  }
  SettleClone();
  // No need to disturb the stub: it is stopped with its registers in hand.
  if (auto flushed = FlushMemoryOps(); !flushed.ok()) {
    next->kind = Trap::Kind::kMemoryOpFailed;
    next->failed_errno = flushed.error().value();
    MutexLock lock(mu_);
    interrupt_ = true;
    return true;
  }
  EnsureRegisters();
  registers_.orig_rax = ~0ull;
  next->kind = Trap::Kind::kInterrupt;
  next->ip = GuestAddr(registers_.rip);
  return true;
}

void GuestThread::Resume() {
  if (hold_ == Hold::kNotified) {
    hold_ = Hold::kLoose;
    const uint64_t notification = notification_;
    const int64_t value = return_value_;
    handover_.store(0, std::memory_order_release);
    (void)listener_->Answer(notification, value);
    return;
  }
  // What the fast lane cannot load by itself. A thread that died meanwhile has no use for it.
  if (registers_loaded_ && (registers_.rip >> 47 != 0 || registers_.gs_base != 0)) (void)EnsureFrame();
  cloning_ = std::exchange(clone_, nullptr);
  Post(cloning_ == nullptr ? stub::Command::kResume : stub::Command::kCloneAndResume,
       registers_loaded_ ? stub::Resume::kRegisters : stub::Resume::kReturn, stub::kMaxOps);
}

arch::Registers& GuestThread::regs() {
  CHECK(has_registers());
  EnsureRegisters();
  return registers_;
}

void GuestThread::SetReturn(int64_t value) {
  if (output_failed_) value = -EFAULT;
  if (registers_loaded_) {
    registers_.rax = value;
  } else {
    return_value_ = value;
    return_set_ = true;
  }
}

void GuestThread::Start() {
  {
    MutexLock lock(mu_);
    if (state_ != State::kNew) return;
  }
  started_ = true;
  const RefPtr<Listener> listener = listener_;
  StubPlatform& platform = platform_;
  const bool dispatch = listener->ThreadRuns();
  bool dead, signal, born;
  {
    MutexLock lock(mu_);
    // It may have died while it waited.
    dead = dead_;
    signal = interrupt_;
    state_ = dead ? State::kServing : State::kRunning;
    born = TakeHelloLocked();
    interrupt_since_ns_ = MonotonicNs();
    handover_.store(0, std::memory_order_release);
  }
  if (dead) {
    platform.workers().DeliverDeath(shared_from_this());
  } else if (born) {
    if (signal) SendControlSignal();
    Resume();
  } else {
    // Its hello resumes it, perhaps already, and it may be gone.
    platform.WatchInterrupt();
  }
  if (dispatch) platform.workers().DispatchAfterTrap(listener);
}

void GuestThread::Exit() {
  SettleClone();
  {
    MutexLock lock(mu_);
    if (state_ == State::kExited) return;
    state_ = State::kExited;
  }
  ReleaseHost();
}

void GuestThread::ReleaseHost() {
  const RefPtr<GuestThread> self = shared_from_this();
  bool dead;
  {
    MutexLock lock(mu_);
    dead = dead_;
  }
  const bool born = !cloned_ || (dead && creator_page_ != nullptr) || host_tid() >= 0;
  if (!born) (void)listener_->TakePending(token_);
  listener_->RemoveUnbound(this);
  if (started_ && !blocked_) listener_->ThreadStops();
  if (tid_ >= 0) listener_->Remove(tid_, this);
  platform_.shared_watch().Leave(*this);
  if (!process_) return;
  const size_t left = process_->RemoveThread(this);
  if (left == 0) {
    process_->Signal(SIGKILL);
    space_->RemoveProcess(process_.get());
    if (!born) {
      space_->SetNewborn(nullptr);
      platform_.ForgetProcess(process_.get());
    }
  } else if (dead) {
    // Nothing to stop.
  } else if (tid_ == process_->pid()) {
    // The host's thread group leader stays, waiting for nothing, since the memory of a group whose leader exited
    // cannot be reached any more.
    Park();
  } else {
    if (hold_ == Hold::kNotified) Park();
    std::erase_if(ops_, [](const MemoryOp& op) { return op.kind == MemoryOp::Kind::kMapFile; });
    (*page_)->exit_word = exit_word_.value();
    Post(stub::Command::kExitThread, stub::Resume::kUnchanged, stub::kMaxOps);
  }
  ops_.clear();
  posted_ops_.clear();
  if (tid_ != process_->pid() || left == 0) space_->FreeSlot({slot_, page_}, process_, tid_);
}

// The leader's host thread stays, and the last thread's process is killed.
bool GuestThread::ClearAtExit(GuestAddr word) {
  if (!process_ || tid_ == process_->pid() || process_->ThreadCount() <= 1) return false;
  exit_word_ = word;
  MutexLock lock(mu_);
  return !dead_;
}

void GuestThread::BeginBlock() {
  SettleClone();
  SettleCallData();
  Park();
  __atomic_store_n(&(*page_)->spin_cycles, 0, __ATOMIC_RELAXED);
  blocked_ = true;
  if (!in_call_) listener_->ThreadStops();
  GiveUpDuty();
}

// A few may wait in their notification: the answer wakes them on the sentry's own processor, and parking them first
// would cost two more context switches.
void GuestThread::BeginDefer() {
  SettleClone();
  SettleCallData();
  __atomic_store_n(&(*page_)->spin_cycles, 0, __ATOMIC_RELAXED);
  const bool notified = hold_ == Hold::kNotified || hold_ == Hold::kRung;
  waits_in_notification_ = notified && listener_->HoldNotification();
  if (!waits_in_notification_) Park();
  blocked_ = true;
  if (!in_call_) listener_->ThreadStops();
  handover_.store(0, std::memory_order_release);
}

void GuestThread::EndBlock() {
  blocked_ = false;
  if (std::exchange(waits_in_notification_, false)) listener_->ReleaseNotification();
  if (!in_call_) listener_->ThreadUnblocks();
}

// One that is in the middle of a clone, or is yet to be made by one, looks at `interrupted` before it runs guest code.
void GuestThread::SendControlSignal() {
  const bool unbound = tid_ < 0;
  if (in_clone_ || unbound) {
    __atomic_fetch_or(&(*page_)->interrupted, stub::kInterruptedByControl, __ATOMIC_SEQ_CST);
    if (unbound || __atomic_load_n(&(*page_)->cloning, __ATOMIC_SEQ_CST) != 0) return;
  }
  process_->SignalThread(tid_, stub::kControlSignal);
}

void GuestThread::Interrupt() {
  bool gone = false, unbound = false;
  {
    MutexLock lock(mu_);
    if (dead_ || state_ == State::kExited || interrupt_) return;
    interrupt_ = true;
    if (state_ != State::kRunning) return;  // seen when the trap under way is finished
    interrupt_since_ns_ = MonotonicNs();
    if (tid_ < 0 && creator_page_ == nullptr) return;  // seen at its birth
    unbound = tid_ < 0;
    SendControlSignal();
    gone = !unbound && tid_ != process_->pid() && !process_->HasThread(tid_);
  }
  // Made meanwhile, it may have looked before it was told.
  if (unbound && Bind()) SendControlSignal();
  // A thread that ended by itself, behind our back, does not answer.
  if (gone) {
    MarkDead(0);
  } else {
    platform_.WatchInterrupt();
  }
}

bool GuestThread::InterruptOverdue(int64_t before_ns) {
  (void)Bind();
  MutexLock lock(mu_);
  return (interrupt_ || tid_ < 0) && state_ == State::kRunning && !dead_ && interrupt_since_ns_ < before_ns;
}

// The host shows other processes' clocks, but not those of their single threads: threads of one process are charged
// equal shares, so that at least the sum is right.
uint64_t GuestThread::CpuTimeNs() {
  if (!process_) return 0;
  timespec time = {};
  const ssize_t r = process_->WithPid([&](pid_t pid) {
    const clockid_t clock = static_cast<clockid_t>(~static_cast<unsigned>(pid) << 3 | 2);  // CPUCLOCK_SCHED
    return ::clock_gettime(clock, &time);
  });
  if (r != 0) return 0;
  const uint64_t total = static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
  return total / std::max<size_t>(process_->ThreadCount(), 1);
}

void GuestThread::MarkDead(int signal, int error) {
  bool deliver = false;
  {
    MutexLock lock(mu_);
    if (dead_) return;
    dead_ = true;
    never_made_ = error;
    death_signal_ = signal;
    if (calling_) handler_.HandleCallEnded();
    if (state_ == State::kRunning) {
      state_ = State::kServing;
      deliver = true;
    }
  }
  listener_->Wakeup();
  if (deliver) platform_.workers().DeliverDeath(shared_from_this());
}

void GuestThread::ServeDeath() {
  (void)handover_.load(std::memory_order_acquire);
  ServingScope scope(this);
  Trap trap;
  trap.kind = Trap::Kind::kDead;
  {
    MutexLock lock(mu_);
    if (state_ == State::kExited || std::exchange(death_told_, true)) return;
    trap.death_signal = death_signal_;
    trap.failed_errno = never_made_;
  }
  Handle(trap);
}

void GuestThread::KillHostile(const char* why) {
  LOGF(kWarning, "systrap: thread %d %s: killed", tid_.load(), why);
  if (process_) process_->Signal(SIGKILL);
  // One that does not say hello has no number that could be trusted.
  if (tid_ < 0) MarkDead(SIGKILL);
}

}  // namespace sandbox::platform::systrap
