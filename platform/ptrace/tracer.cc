#include "platform/ptrace/tracer.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "platform/ptrace/requests.h"
#include "platform/ptrace/stub.h"

namespace sandbox::platform::ptrace {

Tracer::Tracer(WorkerPool& workers) : workers_(workers), mu_(LockRank::kLeaf) {}

Tracer::~Tracer() {
  if (!thread_.joinable()) return;
  Post({Command::Kind::kStop, nullptr});
  thread_.join();
}

Result<RefPtr<Tracee>> Tracer::Start(pid_t zygote) {
  Event bound;
  thread_ = std::thread([this, &bound] {
    prctl(PR_SET_NAME, "tracer", 0, 0, 0);
    wait_.BindToThisThread();
    bound.Set();
    Main();
  });
  bound.Wait();
  auto tracee = MakeRef<Tracee>(zygote, MakeRef<HostProcess>(zygote));
  Event born;
  tracee->birth = &born;
  Post({Command::Kind::kAttach, tracee});
  born.Wait();
  if (tracee->exited.load()) return Err(EPERM);
  return tracee;
}

void Tracer::Post(Command command) {
  {
    MutexLock lock(mu_);
    queue_.push_back(std::move(command));
  }
  wait_.Kick();
}

void Tracer::Run(const RefPtr<Tracee>& tracee, Program& program) {
  Post({Command::Kind::kRun, tracee, &program});
  program.done.Wait();
}

void Tracer::BeginClone() {
  MutexLock lock(mu_);
  ++clones_;
}

RefPtr<Tracee> Tracer::EndClone(pid_t tid, RefPtr<HostProcess> process) {
  if (process == nullptr) process = MakeRef<HostProcess>(tid);
  auto tracee = MakeRef<Tracee>(tid, std::move(process));
  Event born;
  tracee->birth = &born;
  Post({Command::Kind::kAdopt, tracee});
  born.Wait();
  return tracee;
}

void Tracer::EndClone() { Post({Command::Kind::kEndClone, nullptr}); }
void Tracer::Resume(const RefPtr<Tracee>& tracee) { Post({Command::Kind::kResume, tracee}); }
void Tracer::Interrupt(const RefPtr<Tracee>& tracee) { Post({Command::Kind::kInterrupt, tracee}); }
void Tracer::Exit(const RefPtr<Tracee>& tracee) { Post({Command::Kind::kExit, tracee}); }

void Tracer::Main() {
  std::vector<Command> commands;
  for (;;) {
    wait_.Clear();
    bool clones;
    {
      MutexLock lock(mu_);
      commands.swap(queue_);
      clones = clones_ > 0;
    }
    for (Command& command : commands) Execute(command);
    commands.clear();
    if (!clones && !strays_.empty()) KillStrays();
    if (stopping_ && tracees_.empty()) return;
    int status;
    const long pid = wait_.Wait(&status);
    if (pid > 0) OnStatus(static_cast<pid_t>(pid), status);
    CHECK(pid > 0 || pid == -EINTR);
  }
}

void Tracer::Execute(Command& command) {
  const RefPtr<Tracee>& tracee = command.tracee;
  switch (command.kind) {
    case Command::Kind::kRun:
      if (tracee->state == Tracee::State::kDead || tracee->state == Tracee::State::kExiting) {
        command.program->dead = true;
        command.program->done.Set();
        return;
      }
      tracee->programs.push_back(command.program);
      // A failing request means that the thread is dying; OnGone then ends the program.
      if (tracee->state == Tracee::State::kRunning) (void)InterruptTracee(tracee->tid);
      Advance(*tracee);
      return;
    case Command::Kind::kResume:
      tracee->wants_run = true;
      if (tracee->state == Tracee::State::kDead) Deliver(*tracee, Trap::Kind::kDead);
      Advance(*tracee);
      return;
    case Command::Kind::kInterrupt:
      tracee->interrupt_requested = true;
      if (tracee->state == Tracee::State::kRunning) (void)InterruptTracee(tracee->tid);
      return;
    case Command::Kind::kExit:
      tracee->exit_requested = true;
      tracee->wants_run = false;
      Advance(*tracee);
      return;
    case Command::Kind::kAdopt: {
      tracees_.emplace(tracee->tid, tracee);
      const auto stray = strays_.find(tracee->tid);
      if (stray != strays_.end()) {
        const int status = stray->second;
        strays_.erase(stray);
        OnStatus(tracee->tid, status);
      }
      [[fallthrough]];
    }
    case Command::Kind::kEndClone: {
      MutexLock lock(mu_);
      --clones_;
      return;
    }
    case Command::Kind::kAttach:
      if (Seize(tracee->tid).ok() && InterruptTracee(tracee->tid).ok()) {
        tracees_.emplace(tracee->tid, tracee);
      } else {
        tracee->exited = true;
        stopping_ = true;
        tracee->birth->Set();
      }
      return;
    case Command::Kind::kStop:
      stopping_ = true;
      for (const auto& [tid, victim] : tracees_) (void)kill(tid, SIGKILL);
      return;
  }
}

// Children of clones whose parent died before it could name them.
void Tracer::KillStrays() {
  for (const auto& [tid, status] : strays_) {
    if (WIFSTOPPED(status)) (void)kill(tid, SIGKILL);
  }
  strays_.clear();
}

void Tracer::OnStatus(pid_t tid, int status) {
  const auto entry = tracees_.find(tid);
  if (entry == tracees_.end()) {
    strays_[tid] = status;
    return;
  }
  const RefPtr<Tracee> tracee = entry->second;
  if (WIFSTOPPED(status)) {
    OnStop(*tracee, status);
    return;
  }
  tracees_.erase(entry);
  OnGone(*tracee, status);
}

void Tracer::OnGone(Tracee& tracee, int status) {
  const bool unattended = tracee.state == Tracee::State::kRunning || tracee.wants_run;
  tracee.state = Tracee::State::kDead;
  tracee.death_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  tracee.process->cpu.Remove(tracee.tid);
  for (Program* program : tracee.programs) {
    program->dead = true;
    program->done.Set();
  }
  tracee.programs.clear();
  if (tracee.birth != nullptr) std::exchange(tracee.birth, nullptr)->Set();
  if (unattended && !tracee.exit_requested && !stopping_) Deliver(tracee, Trap::Kind::kDead);
}

void Tracer::OnStop(Tracee& tracee, int status) {
  constexpr int kEventStop = 128;  // PTRACE_EVENT_STOP
  if (tracee.state == Tracee::State::kBorn) {
    OnFirstStop(tracee);
    return;
  }
  if (status >> 16 == kEventStop) {
    // The answer to an interrupt, perhaps one that another stop has overtaken.
    if (tracee.state != Tracee::State::kRunning ||
        (tracee.programs.empty() && !tracee.interrupt_requested && !tracee.exit_requested)) {
      Continue(tracee);
      return;
    }
    if (!Capture(tracee)) return;
    tracee.regs.orig_rax = ~uint64_t{0};
    tracee.wants_run = true;
    Advance(tracee);
    return;
  }
  const int signo = WSTOPSIG(status);
  if (signo != (SIGTRAP | 0x80)) {
    OnSignal(tracee, signo);
    return;
  }
  if (tracee.state != Tracee::State::kRunning) {
    Continue(tracee);
    return;
  }
  const auto native = IsNativeSyscall(tracee.tid);
  if (!native.ok() || !Capture(tracee)) return;
  Trap& trap = tracee.trap;
  if (*native) {
    trap.nr = tracee.regs.syscall_nr();
    for (int i = 0; i < 6; ++i) trap.args[i] = tracee.regs.syscall_arg(i);
    trap.ip = GuestAddr(tracee.regs.rip);
    Deliver(tracee, Trap::Kind::kSyscall);
  } else {
    // int $0x80 and 32-bit code: as on a kernel without CONFIG_IA32_EMULATION.
    tracee.regs.orig_rax = ~uint64_t{0};
    tracee.regs.rip -= arch::kSyscallInsnLength;
    trap.fault = {.signo = SIGSEGV, .code = SI_KERNEL, .address = GuestAddr(), .trapno = 13, .error = 0x402};
    Deliver(tracee, Trap::Kind::kFault);
  }
  Advance(tracee);
}

// Guest code stopped: takes its registers. False when it is being killed.
bool Tracer::Capture(Tracee& tracee) {
  if (!GetRegisters(tracee.tid, tracee.regs).ok()) return false;
  tracee.host_regs = tracee.regs;
  tracee.state = Tracee::State::kStopped;
  tracee.process->cpu.SetRunning(tracee.tid, false);
  return true;
}

void Tracer::OnFirstStop(Tracee& tracee) {
  arch::Registers regs;
  if (!GetRegisters(tracee.tid, regs).ok()) return;
  if (regs.rip < kStubText || regs.rip >= kStubText + kPageSize) {
    // The zygote on its last steps into the stub page; forked children are born there.
    (void)ResumeStub(tracee.tid);
    (void)InterruptTracee(tracee.tid);
    return;
  }
  tracee.host_regs = regs;
  tracee.state = Tracee::State::kStopped;
  tracee.process->cpu.Add(tracee.tid);
  std::exchange(tracee.birth, nullptr)->Set();
  Advance(tracee);
}

void Tracer::OnSignal(Tracee& tracee, int signo) {
  if (tracee.state == Tracee::State::kInjecting) {
    OnInjectionStop(tracee, signo);
    return;
  }
  siginfo_t info;
  if (!GetSiginfo(tracee.tid, info).ok()) return;
  const bool fault = info.si_code > 0 &&
                     (signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE || signo == SIGILL || signo == SIGTRAP);
  if (tracee.state != Tracee::State::kRunning || !fault) {
    Continue(tracee);  // without the signal: the host's signals are not the guest's
    return;
  }
  if (!Capture(tracee)) return;
  tracee.regs.orig_rax = ~uint64_t{0};
  tracee.trap.fault = {
      .signo = signo, .code = info.si_code, .address = GuestAddr(reinterpret_cast<uint64_t>(info.si_addr))};
  Deliver(tracee, Trap::Kind::kFault);
  Advance(tracee);
}

// A signal while in the stub page: the end of a call, a fault of the exchange, or noise.
void Tracer::OnInjectionStop(Tracee& tracee, int signo) {
  Program& program = *tracee.programs.front();
  InjectedCall& call = program.calls[program.next];
  arch::Registers regs;
  if (!GetRegisters(tracee.tid, regs).ok()) return;
  const bool done = signo == SIGTRAP && regs.rip == (call.entry == kSyscallEntry ? kSyscallDone : kExchangeDone);
  const bool faulted = (signo == SIGSEGV || signo == SIGBUS) && call.entry == kExchangeEntry && regs.rip == call.entry;
  if (!done && !faulted) {
    Continue(tracee);
    return;
  }
  call.ran = true;
  call.faulted = faulted;
  call.result = static_cast<int64_t>(regs.rax);
  ++program.next;
  if (call.entry == kSyscallEntry && call.failed() && !call.keep_going) program.next = program.calls.size();
  tracee.state = Tracee::State::kStopped;
  Advance(tracee);
}

// Does what is to be done next with a stopped thread, if anything.
void Tracer::Advance(Tracee& tracee) {
  while (tracee.state == Tracee::State::kStopped && !tracee.programs.empty()) {
    Program& program = *tracee.programs.front();
    if (program.request) std::exchange(program.request, nullptr)();
    if (program.next < program.calls.size()) {
      StartCall(tracee);
      return;
    }
    tracee.programs.pop_front();
    program.done.Set();
  }
  if (tracee.state != Tracee::State::kStopped) return;
  if (tracee.exit_requested) {
    arch::Registers regs = tracee.host_regs;
    regs.rip = kSyscallEntry;
    regs.rax = SYS_exit;
    regs.rdi = 0;
    regs.orig_rax = ~uint64_t{0};
    regs.eflags = 0x202;
    regs.cs = 0x33;
    regs.ss = 0x2b;
    tracee.state = Tracee::State::kExiting;
    (void)SetRegisters(tracee.tid, regs);
    (void)ResumeStub(tracee.tid);
    return;
  }
  if (!tracee.wants_run) return;
  if (tracee.interrupt_requested) {
    tracee.interrupt_requested = false;
    tracee.regs.orig_rax = ~uint64_t{0};  // whatever call was being served is over
    Deliver(tracee, Trap::Kind::kInterrupt);
    return;
  }
  RunGuest(tracee);
}

void Tracer::StartCall(Tracee& tracee) {
  const Program& program = *tracee.programs.front();
  const InjectedCall& call = program.calls[program.next];
  arch::Registers regs = tracee.host_regs;
  regs.rip = call.entry;
  regs.rax = call.nr;
  regs.rdi = call.args[0];
  regs.rsi = call.args[1];
  regs.rdx = call.args[2];
  regs.r10 = call.args[3];
  regs.r8 = call.args[4];
  regs.r9 = call.args[5];
  regs.rcx = call.rcx;
  regs.orig_rax = ~uint64_t{0};  // not in a system call: no restart fix-ups by the host
  regs.eflags = 0x202;           // no trap flag of the guest's
  regs.cs = 0x33;
  regs.ss = 0x2b;
  tracee.state = Tracee::State::kInjecting;
  (void)SetRegisters(tracee.tid, regs);
  (void)ResumeStub(tracee.tid);
}

void Tracer::RunGuest(Tracee& tracee) {
  tracee.wants_run = false;
  tracee.state = Tracee::State::kRunning;
  arch::Registers& regs = tracee.regs;
  regs.orig_rax = ~uint64_t{0};
  if (SetRegisters(tracee.tid, regs).Is(EIO)) {
    // The sentry passed on selectors or bases that no thread can have (a forged signal frame).
    regs.cs = 0x33;
    regs.ss = 0x2b;
    regs.ds = regs.es = regs.fs = regs.gs = 0;
    if (regs.fs_base >= kTaskSize) regs.fs_base = 0;
    if (regs.gs_base >= kTaskSize) regs.gs_base = 0;
    (void)SetRegisters(tracee.tid, regs);
  }
  tracee.process->cpu.SetRunning(tracee.tid, true);
  (void)ResumeGuest(tracee.tid);
}

// Lets the thread go on with what it was doing before a stop that means nothing.
void Tracer::Continue(Tracee& tracee) {
  switch (tracee.state) {
    case Tracee::State::kRunning:
      (void)ResumeGuest(tracee.tid);
      return;
    case Tracee::State::kInjecting:
    case Tracee::State::kExiting:
      (void)ResumeStub(tracee.tid);
      return;
    default:
      return;  // stopped: this was a second report, there is nothing to resume
  }
}

void Tracer::Deliver(Tracee& tracee, Trap::Kind kind) {
  tracee.wants_run = false;
  tracee.trap.kind = kind;
  tracee.trap.death_signal = tracee.death_signal;
  workers_.Post(tracee.shared_from_this());
}

}  // namespace sandbox::platform::ptrace
