// The "ptrace" platform: guest threads are host threads under PTRACE_SYSEMU with host-managed memory. The reference
// for what platforms do, and the one to debug with: every trap passes through one thread.
#include <sys/mman.h>
#include <sys/syscall.h>

#include <memory>

#include "platform/api/registry.h"
#include "platform/ptrace/host_rules.h"
#include "platform/ptrace/requests.h"
#include "platform/ptrace/stub.h"
#include "platform/ptrace/thread.h"
#include "platform/ptrace/xstate.h"
#include "platform/ptrace/zygote.h"

namespace sandbox::platform::ptrace {
namespace {

class PtracePlatform final : public Platform {
 public:
  static Result<std::unique_ptr<Platform>> Create(const PlatformOptions&) {
    Zygote zygote = TRY(StartZygote());
    return std::unique_ptr<Platform>(new PtracePlatform(std::move(zygote)));
  }

  std::string_view name() const override { return "ptrace"; }
  GuestRange guest_range() const override { return {GuestAddr(kGuestStart), GuestAddr(kGuestEnd)}; }

  Result<std::unique_ptr<Thread>> NewProcess(TrapHandler& handler) override {
    const RefPtr<Tracee> zygote = TRY(AttachedZygote());
    RefPtr<Tracee> tracee = TRY(CloneTracee(tracer_, zygote, {}));
    arch::Registers& regs = tracee->regs;
    regs = {};
    regs.orig_rax = ~uint64_t{0};
    regs.eflags = 0x202;  // interrupts on, and the bit that always is
    regs.cs = 0x33;       // __USER_CS
    regs.ss = 0x2b;       // __USER_DS
    return std::unique_ptr<Thread>(
        new PtraceThread(machine_, std::move(tracee), MakeRef<PtraceAddressSpace>(tracer_), handler));
  }

 private:
  explicit PtracePlatform(Zygote zygote)
      : zygote_pid_(zygote.pid),
        channel_(std::move(zygote.send), std::move(zygote.receive)),
        tracer_(workers_),
        machine_{workers_, tracer_, channel_},
        mu_(LockRank::kPlatform) {
    workers_.SetServe([this](const RefPtr<Tracee>& tracee) { PtraceThread::Serve(machine_, tracee); });
  }

  // The tracer thread is started by the first process: until then the sentry may still be single threaded on purpose.
  Result<RefPtr<Tracee>> AttachedZygote() {
    MutexLock lock(mu_);  // held while waiting for the zygote's first stop, once
    if (zygote_ != nullptr) return zygote_;
    RefPtr<Tracee> zygote = TRY(tracer_.Start(zygote_pid_));
    TRY(Strip(zygote));
    zygote_ = zygote;
    return zygote_;
  }

  // Takes from the zygote all that it inherited: every mapping but the stub's, and the processor's extended state.
  Result<void> Strip(const RefPtr<Tracee>& zygote) {
    Program program;
    auto unmap = [&](uint64_t start, uint64_t end) {
      InjectedCall& call = program.calls.emplace_back();
      call.entry = kSyscallEntry;
      call.nr = SYS_munmap;
      call.args = {start, end - start};
    };
    unmap(0, kStubText);
    unmap(kStubEnd, kTaskSize);
    Result<void> reset = Err(ESRCH);
    program.request = [&] {
      reset = [&]() -> Result<void> {
        const size_t size = TRY(GetXstate(zygote->tid)).size();
        auto initial = TRY(XstateFromFrame({}, size));
        return SetXstate(zygote->tid, initial);
      }();
    };
    tracer_.Run(zygote, program);
    for (const InjectedCall& call : program.calls) {
      if (call.failed()) return Err(call.error());
    }
    return reset;
  }

  const pid_t zygote_pid_;
  DescriptorChannel channel_;
  WorkerPool workers_;  // outlives the tracer, which posts to it
  Tracer tracer_;
  Machine machine_;
  Mutex mu_;
  RefPtr<Tracee> zygote_ GUARDED_BY(mu_);
};

const PlatformRegistration registration("ptrace", &PtracePlatform::Create, kHostRules);

}  // namespace
}  // namespace sandbox::platform::ptrace
