// The systrap platform: guests run as host threads of stub processes, under a seccomp filter that turns their calls
// into notifications and traps.
#pragma once

#include <pthread.h>

#include <memory>
#include <unordered_map>

#include "platform/api/platform.h"
#include "platform/arch/fpstate.h"
#include "platform/systrap/guest_thread.h"
#include "platform/systrap/shared_watch.h"
#include "platform/systrap/slow_handler_monitor.h"
#include "platform/systrap/spin_policy.h"
#include "platform/systrap/stub_pool.h"
#include "platform/systrap/worker.h"
#include "platform/systrap/zygote.h"

namespace sandbox::platform::systrap {

class StubPlatform final : public Platform {
 public:
  static Result<std::unique_ptr<Platform>> Create(const PlatformOptions& options);
  ~StubPlatform() override;

  std::string_view name() const override { return "systrap"; }
  GuestRange guest_range() const override;
  Result<std::unique_ptr<Thread>> NewProcess(TrapHandler& handler) override;

  const TextRewriter* text_rewriter() const override { return rewriter_.get(); }

  WorkerPool& workers() { return workers_; }
  SpinPolicy& spin() { return spin_; }
  StubPool& pool() { return pool_; }
  SharedWatch& shared_watch() { return shared_watch_; }
  const InputTable& inputs() const { return inputs_; }
  // Of signal frames; known once there is a process.
  arch::FpLayout fp_layout() const { return {fp_state_size_.load(), fp_features_.load()}; }
  // Makes the reaper know a stub process. Called before it can run guest code.
  void AddProcess(const RefPtr<HostProcess>& process) EXCLUDES(mu_);
  // The same of a clone under way, whose number is not known; until AddProcess or ForgetProcess.
  void ExpectProcess(RefPtr<HostProcess> process) EXCLUDES(mu_);
  void ForgetProcess(const HostProcess* process) EXCLUDES(mu_);
  // An interrupt was sent: somebody has to look whether it is answered.
  void WatchInterrupt() EXCLUDES(mu_);

 private:
  StubPlatform(std::unique_ptr<Zygote> zygote, const PlatformOptions& options);
  void Reap();
  void Collect(pid_t pid, int status_code, int status);
  bool AwaitOverdue() EXCLUDES(mu_) NO_THREAD_SAFETY_ANALYSIS;  // CondVar knows no timeouts
  void Watch();
  std::vector<RefPtr<GuestThread>> AllThreads() EXCLUDES(mu_);

  const std::unique_ptr<Zygote> zygote_;
  const InputTable inputs_;
  const std::unique_ptr<TextRewriter> rewriter_;  // null where stubs have no fast lane
  SpinPolicy spin_;
  std::atomic<uint32_t> fp_state_size_{0};
  std::atomic<uint64_t> fp_features_{0};
  SharedWatch shared_watch_{spin_};
  WorkerPool workers_;
  SlowHandlerMonitor monitor_{workers_};
  StubPool pool_;
  Mutex mu_{LockRank::kPlatform};
  std::unordered_map<pid_t, RefPtr<HostProcess>> processes_ GUARDED_BY(mu_);
  std::vector<RefPtr<HostProcess>> expected_ GUARDED_BY(mu_);
  bool watching_ GUARDED_BY(mu_) = false;
  bool stopping_ GUARDED_BY(mu_) = false;
  std::condition_variable watch_;
  pthread_t reaper_ = {};
  pthread_t watchdog_ = {};
};

// The API object of a guest thread.
class StubThread final : public Thread {
 public:
  explicit StubThread(RefPtr<GuestThread> thread) : thread_(std::move(thread)), space_(thread_->space()) {
    thread_->set_facade(this);
  }
  ~StubThread() override { thread_->Exit(); }

  const RefPtr<AddressSpace>& address_space() override { return space_; }
  bool has_registers() const override { return thread_->has_registers(); }
  arch::Registers& regs() override { return thread_->regs(); }
  void SetReturn(int64_t value) override { thread_->SetReturn(value); }
  Result<std::vector<uint8_t>> GetFpState() override { return thread_->GetFpState(); }
  Result<void> SetFpState(std::span<const uint8_t> state) override { return thread_->SetFpState(state); }
  bool ReadInput(GuestAddr from, void* to, size_t size) override { return thread_->ReadInput(from, to, size); }
  char* ReserveOutput(size_t size) override { return thread_->ReserveOutput(size); }
  void CommitOutput(GuestAddr to, size_t size) override { thread_->CommitOutput(to, size); }
  void SettleCallData() override { thread_->SettleCallData(); }
  std::optional<Result<size_t>> ReadFile(GuestRange to, BorrowedFd fd, uint64_t offset) override {
    return thread_->ReadFile(to, fd, offset);
  }
  size_t FpStateSize() override { return thread_->FpStateSize(); }
  Result<void> PushFrame(const arch::BuiltFrame& frame) override { return thread_->PushFrame(frame); }
  bool CanMakeCalls() const override { return true; }
  Result<int64_t> RunCall(const HostCall& call) override { return thread_->RunCall(call); }
  Result<void> BeginCall(const HostCall& call) override { return thread_->BeginCall(call); }
  bool CallEnded() override { return thread_->CallEnded(); }
  Result<int64_t> EndCall() override { return thread_->EndCall(); }
  AddressSpace::Usage OwnUsage() override { return thread_->OwnUsage(); }
  void QueueMemoryOp(MemoryOp op) override { thread_->QueueMemoryOp(std::move(op)); }
  Result<void> FlushMemoryOps() override { return thread_->FlushMemoryOps(); }
  Result<std::unique_ptr<Thread>> Clone(const CloneOptions& options, TrapHandler& child) override {
    return std::unique_ptr<Thread>(new StubThread(TRY(thread_->Clone(options, child))));
  }
  void Start() override { thread_->Start(); }
  void Exit() override { thread_->Exit(); }
  bool ClearAtExit(GuestAddr word) override { return thread_->ClearAtExit(word); }
  void BeginBlock() override { thread_->BeginBlock(); }
  void EndBlock() override { thread_->EndBlock(); }
  bool CanDefer() const override { return true; }
  void BeginDefer() override { thread_->BeginDefer(); }
  void Proceed(Where where) override { thread_->Proceed(where); }
  void Interrupt() override { thread_->Interrupt(); }
  uint64_t CpuTimeNs() override { return thread_->CpuTimeNs(); }
  void SetLocalIdentity(const std::optional<LocalIdentity>& identity) override { thread_->SetLocalIdentity(identity); }
  void SetSignalMask(uint64_t mask) override { thread_->SetSignalMask(mask); }
  std::optional<uint64_t> SignalMask() override { return thread_->SignalMask(); }
  void SetSignalsPending(bool pending) override { thread_->SetSignalsPending(pending); }
  void SetSignalStack(const arch::SignalStack& stack) override { thread_->SetSignalStack(stack); }
  void SetUntouchedActions(uint64_t actions, bool sole) override { thread_->SetUntouchedActions(actions, sole); }
  DefaultedActions TakeDefaultedActions() override { return thread_->TakeDefaultedActions(); }
  Settled TakeSettled() override { return thread_->TakeSettled(); }
  std::optional<uint64_t> SettledRobustList() override { return thread_->SettledRobustList(); }
  std::optional<uint64_t> WaitsInCall() override { return thread_->WaitsInCall(); }
  int host_tid() const override { return thread_->host_tid(); }

 private:
  const RefPtr<GuestThread> thread_;
  const RefPtr<AddressSpace> space_;
};

}  // namespace sandbox::platform::systrap
