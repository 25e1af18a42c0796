// For tests: a "guest" that is a reserved range of the test's own memory. Ops are executed on it with the real calls,
// so that a test sees what a host would do.
#pragma once

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vector>

#include "base/check.h"
#include "platform/api/platform.h"
#include "sentry/core/context.h"
#include "sentry/mm/memory_manager.h"

namespace sandbox::testing_mm {

// Memory of this very process; faults become EFAULT through process_vm_readv.
class SelfSpace final : public platform::AddressSpace {
 public:
  Result<size_t> Read(GuestAddr from, void* to, size_t size) override {
    iovec local{to, size}, remote{reinterpret_cast<void*>(from.value()), size};
    const ssize_t got = ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0);
    if (got <= 0) return Err(EFAULT);
    return static_cast<size_t>(got);
  }
  Result<size_t> Write(GuestAddr to, const void* from, size_t size) override {
    iovec local{const_cast<void*>(from), size}, remote{reinterpret_cast<void*>(to.value()), size};
    const ssize_t got = ::process_vm_writev(::getpid(), &local, 1, &remote, 1, 0);
    if (got <= 0) return Err(EFAULT);
    return static_cast<size_t>(got);
  }
  Result<uint32_t> CompareExchange(GuestAddr, uint32_t, uint32_t) override { return Err(EFAULT); }
  Usage GetUsage() override { return {}; }
};

// Executes or only records what it is given.
class FakeThread final : public platform::Thread {
 public:
  explicit FakeThread(RefPtr<platform::AddressSpace> space, bool execute = true)
      : space_(std::move(space)), execute_(execute) {}

  const RefPtr<platform::AddressSpace>& address_space() override { return space_; }
  bool has_registers() const override { return true; }
  arch::Registers& regs() override { return regs_; }
  void SetReturn(int64_t) override {}
  Result<std::vector<uint8_t>> GetFpState() override { return std::vector<uint8_t>(); }
  Result<void> SetFpState(std::span<const uint8_t>) override { return {}; }
  size_t FpStateSize() override { return 0; }
  Result<void> PushFrame(const arch::BuiltFrame&) override { return Err(ENOSYS); }
  void QueueMemoryOp(platform::MemoryOp op) override { queued.push_back(std::move(op)); }
  Result<void> FlushMemoryOps() override {
    auto ops = std::move(queued);
    queued.clear();
    for (const auto& op : ops) {
      history.push_back(op);
      if (execute_) {
        if (auto done = Execute(op); !done.ok()) {
          failed = op;
          return done;
        }
      }
    }
    return {};
  }
  Result<std::unique_ptr<Thread>> Clone(const platform::CloneOptions&, platform::TrapHandler&) override {
    return Err(ENOSYS);
  }
  void Start() override {}
  void Exit() override {}
  void BeginBlock() override {}
  void EndBlock() override {}
  void Interrupt() override {}
  uint64_t CpuTimeNs() override { return 0; }
  int host_tid() const override { return 0; }

  std::vector<platform::MemoryOp> queued, history;
  platform::MemoryOp failed = {};

 private:
  static Result<void> Execute(const platform::MemoryOp& op) {
    using Kind = platform::MemoryOp::Kind;
    void* const at = reinterpret_cast<void*>(op.range.start.value());
    void* result = nullptr;
    switch (op.kind) {
      case Kind::kMapAnonymous:
      case Kind::kMapFile:
        result =
            ::mmap(at, op.range.length(), op.prot, op.flags | MAP_FIXED, op.fd.get(), static_cast<off_t>(op.offset));
        break;
      case Kind::kUnmap:
        return HostResult(::munmap(at, op.range.length())).ok() ? Result<void>() : LastErrno();
      case Kind::kProtect:
        return HostResult(::mprotect(at, op.range.length(), op.prot)).ok() ? Result<void>() : LastErrno();
      case Kind::kMove:
        result = ::mremap(at, op.range.length(), op.target.length(),
                          op.range.start == op.target.start ? 0 : MREMAP_MAYMOVE | MREMAP_FIXED,
                          reinterpret_cast<void*>(op.target.start.value()));
        break;
      case Kind::kAdvise:
        return HostResult(::madvise(at, op.range.length(), op.flags)).ok() ? Result<void>() : LastErrno();
      case Kind::kMembarrier:
      case Kind::kRseq:
        return Err(ENOSYS);  // of threads, not of memory: no test of this folder queues them
    }
    if (result == MAP_FAILED) return LastErrno();
    return {};
  }

  RefPtr<platform::AddressSpace> space_;
  const bool execute_;
  arch::Registers regs_ = {};
};

// Root with no limits, or with those a test sets.
class TestContext final : public Context {
 public:
  TestContext() {
    auto creds = std::make_shared<Credentials>();
    creds->effective = creds->permitted = kAllCapabilities;
    creds_ = std::move(creds);
    for (auto& limit : limits) limit = ~uint64_t{0};
  }
  const Credentials& creds() const override { return *creds_; }
  CredentialsRef creds_ref() const override { return creds_; }
  GuestMemory& memory() override { return KernelContext().memory(); }
  uint64_t rlimit(int resource) const override { return limits[static_cast<size_t>(resource)]; }
  int32_t tgid() const override { return 1; }
  int32_t tid() const override { return 1; }
  void RaiseSignal(int) override {}
  Result<void> Block(const Deadline&) override { return Err(kErestartsys); }
  Result<void> BlockKillable(const Deadline&) override { return Err(kErestartsys); }
  void Wake() override {}
  bool Interrupted() const override { return false; }
  void DropPrivileges() { creds_ = std::make_shared<Credentials>(); }

  std::array<uint64_t, 16> limits;

 private:
  CredentialsRef creds_;
};

}  // namespace sandbox::testing_mm
