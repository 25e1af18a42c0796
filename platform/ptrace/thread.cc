#include "platform/ptrace/thread.h"

#include <sched.h>
#include <sys/syscall.h>

#include "base/check.h"
#include "platform/ptrace/fault.h"
#include "platform/ptrace/memory_ops.h"
#include "platform/ptrace/requests.h"
#include "platform/ptrace/stub.h"
#include "platform/ptrace/xstate.h"

namespace sandbox::platform::ptrace {
namespace {

thread_local Tracee* current_tracee = nullptr;

// Runs `request` on the tracer thread while the guest thread is stopped.
bool RunRequest(Tracer& tracer, const RefPtr<Tracee>& tracee, std::function<void()> request) {
  Program program;
  program.request = std::move(request);
  tracer.Run(tracee, program);
  return !program.dead;
}

}  // namespace

RefPtr<Tracee> CurrentTracee() { return current_tracee == nullptr ? nullptr : current_tracee->shared_from_this(); }

PtraceThread::PtraceThread(Machine& machine, RefPtr<Tracee> tracee, RefPtr<PtraceAddressSpace> memory,
                           TrapHandler& handler)
    : machine_(machine), tracee_(std::move(tracee)), memory_(std::move(memory)), memory_base_(memory_) {
  tracee_->handler = &handler;
  tracee_->thread = this;
  memory_->AddThread(tracee_);
}

PtraceThread::~PtraceThread() {
  if (!tracee_->exited.load()) Exit();
}

void PtraceThread::Exit() {
  // Out of the address space first: once the thread ends its number may be given to another process.
  memory_->RemoveThread(*tracee_);
  tracee_->exited.store(true);
  machine_.tracer.Exit(tracee_);
}

Result<std::vector<uint8_t>> PtraceThread::GetFpState() {
  Result<std::vector<uint8_t>> state = Err(ESRCH);
  RunRequest(machine_.tracer, tracee_, [&] { state = GetXstate(tracee_->tid); });
  if (!state.ok()) return state;
  return FrameFromXstate(std::move(*state));
}

Result<void> PtraceThread::SetFpState(std::span<const uint8_t> frame) {
  Result<void> done = Err(ESRCH);
  RunRequest(machine_.tracer, tracee_, [&] {
    done = [&]() -> Result<void> {
      const size_t host_size = TRY(GetXstate(tracee_->tid)).size();
      auto state = TRY(XstateFromFrame(frame, host_size));
      return SetXstate(tracee_->tid, state);  // the host checks feature bits and MXCSR
    }();
  });
  return done;
}

size_t PtraceThread::FpStateSize() {
  const auto state = GetFpState();
  return state.ok() ? state->size() : 0;
}

Result<void> PtraceThread::PushFrame(const arch::BuiltFrame& frame) {
  const auto write = [this](uint64_t to, const void* from, size_t size) -> Result<void> {
    if (TRY(memory_->Write(GuestAddr(to), from, size)) != size) return Err(EFAULT);
    return {};
  };
  const std::vector<uint8_t> state = TRY(GetFpState());
  TRY(write(frame.fp_address, state.data(), state.size()));
  TRY(write(frame.address, &frame.frame, sizeof(frame.frame)));
  return SetFpState({});
}

Result<void> PtraceThread::FlushMemoryOps() {
  std::vector<MemoryOp> ops;
  ops.swap(tracee_->ops);
  const auto outcome = RunMemoryOps(machine_.tracer, machine_.channel, tracee_, ops);
  if (outcome.error != 0) return Err(outcome.error);
  return {};
}

Result<int64_t> PtraceThread::RunCall(const HostCall& host) {
  Program program;
  InjectedCall& call = program.calls.emplace_back();
  call.entry = kSyscallEntry;
  call.nr = host.nr;
  call.args = host.args;
  machine_.tracer.Run(tracee_, program);
  const InjectedCall& done = program.calls[0];
  if (done.failed()) return Err(done.error());
  return static_cast<int64_t>(done.result);
}

Result<RefPtr<Tracee>> CloneTracee(Tracer& tracer, const RefPtr<Tracee>& parent, const CloneOptions& options) {
  // CLONE_PARENT: this process is the parent of all, so that one wait reaps them. CLONE_PTRACE: born attached.
  uint64_t flags = CLONE_PTRACE;
  if (options.thread) {
    flags |= CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  } else {
    flags |= CLONE_PARENT;
    if (options.share_memory) flags |= CLONE_VM;
  }
  Program program;
  InjectedCall& call = program.calls.emplace_back();
  call.entry = kSyscallEntry;
  call.nr = SYS_clone;
  call.args = {flags, 0, 0, 0, 0};
  MutexLock files(parent->process->files_mu);
  tracer.BeginClone();
  tracer.Run(parent, program);
  if (program.calls[0].failed()) {
    tracer.EndClone();
    return Err(program.calls[0].ran ? program.calls[0].error() : EAGAIN);
  }
  return tracer.EndClone(static_cast<pid_t>(program.calls[0].result), options.thread ? parent->process : nullptr);
}

Result<std::unique_ptr<Thread>> PtraceThread::Clone(const CloneOptions& options, TrapHandler& child) {
  TRY(FlushMemoryOps());  // the child's copy has them too
  RefPtr<Tracee> tracee = TRY(CloneTracee(machine_.tracer, tracee_, options));
  tracee->regs = tracee_->regs;
  tracee->regs.rax = 0;
  tracee->regs.orig_rax = ~uint64_t{0};
  RefPtr<PtraceAddressSpace> memory = memory_;
  if (!options.share_memory && !options.thread) memory = MakeRef<PtraceAddressSpace>(machine_.tracer);
  return std::unique_ptr<Thread>(new PtraceThread(machine_, std::move(tracee), std::move(memory), child));
}

bool PtraceThread::RunQueuedOps(Machine& machine, const RefPtr<Tracee>& tracee) {
  if (tracee->ops.empty()) return true;
  std::vector<MemoryOp> ops;
  ops.swap(tracee->ops);
  const auto outcome = RunMemoryOps(machine.tracer, machine.channel, tracee, ops);
  if (outcome.error == 0) return true;
  tracee->trap.kind = Trap::Kind::kMemoryOpFailed;
  tracee->trap.failed_op = ops[outcome.done];
  tracee->trap.failed_errno = outcome.error;
  return false;
}

void PtraceThread::Start() {
  if (RunQueuedOps(machine_, tracee_)) {
    machine_.tracer.Resume(tracee_);
  } else {
    machine_.workers.Post(tracee_);
  }
}

void PtraceThread::Serve(Machine& machine, const RefPtr<Tracee>& tracee) {
  current_tracee = tracee.get();
  Trap& trap = tracee->trap;
  if (trap.kind == Trap::Kind::kFault) {
    DeriveTrapNumbers(trap.fault, tracee->regs, *tracee->thread->address_space());
  }
  for (;;) {
    tracee->handler->HandleTrap(*tracee->thread, trap);
    if (tracee->exited.load()) break;
    if (trap.kind == Trap::Kind::kDead || RunQueuedOps(machine, tracee)) {
      machine.tracer.Resume(tracee);
      break;
    }
  }
  current_tracee = nullptr;
}

}  // namespace sandbox::platform::ptrace
