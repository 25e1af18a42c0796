// platform::Thread over one tracee: registers kept beside it, everything else by programs run through the tracer.
#pragma once

#include "platform/api/platform.h"
#include "platform/ptrace/address_space.h"
#include "platform/ptrace/descriptor_channel.h"
#include "platform/ptrace/tracer.h"

namespace sandbox::platform::ptrace {

// What threads share: owned by the platform, outlives them.
struct Machine {
  WorkerPool& workers;
  Tracer& tracer;
  DescriptorChannel& channel;
};

class PtraceThread final : public Thread {
 public:
  PtraceThread(Machine& machine, RefPtr<Tracee> tracee, RefPtr<PtraceAddressSpace> memory, TrapHandler& handler);
  ~PtraceThread() override;

  const RefPtr<AddressSpace>& address_space() override { return memory_base_; }
  bool has_registers() const override { return true; }
  arch::Registers& regs() override { return tracee_->regs; }
  void SetReturn(int64_t value) override { tracee_->regs.rax = static_cast<uint64_t>(value); }
  Result<std::vector<uint8_t>> GetFpState() override;
  Result<void> SetFpState(std::span<const uint8_t> state) override;
  size_t FpStateSize() override;
  Result<void> PushFrame(const arch::BuiltFrame& frame) override;
  void QueueMemoryOp(MemoryOp op) override { tracee_->ops.push_back(std::move(op)); }
  Result<void> FlushMemoryOps() override;
  Result<int64_t> RunCall(const HostCall& call) override;
  AddressSpace::Usage OwnUsage() override { return memory_->GetUsage(); }
  Result<std::unique_ptr<Thread>> Clone(const CloneOptions& options, TrapHandler& child) override;
  void Start() override;
  void Exit() override;
  void BeginBlock() override {}  // this thread's worker serves nobody else
  void EndBlock() override {}
  void Interrupt() override { machine_.tracer.Interrupt(tracee_); }
  uint64_t CpuTimeNs() override { return tracee_->process->cpu.TimeNs(tracee_->tid); }
  int host_tid() const override { return tracee_->tid; }

  // Serves one trap on the calling worker, and those that queued memory operations bring about.
  static void Serve(Machine& machine, const RefPtr<Tracee>& tracee);

 private:
  // Executes the queued operations; on failure fills in the trap that reports it and returns false.
  static bool RunQueuedOps(Machine& machine, const RefPtr<Tracee>& tracee);

  Machine& machine_;
  const RefPtr<Tracee> tracee_;
  const RefPtr<PtraceAddressSpace> memory_;
  const RefPtr<AddressSpace> memory_base_;
};

// A fork of `parent`, stopped in the stub page. Shared with the platform, which forks the zygote the same way.
Result<RefPtr<Tracee>> CloneTracee(Tracer& tracer, const RefPtr<Tracee>& parent, const CloneOptions& options);

}  // namespace sandbox::platform::ptrace
