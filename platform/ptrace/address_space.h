// Guest memory by process_vm_readv and process_vm_writev, which fault pages in as the guest would and honour its
// protections; compare-and-exchange by a guest thread that is sent through the stub page.
#pragma once

#include <sys/uio.h>

#include <vector>

#include "platform/ptrace/tracer.h"

namespace sandbox::platform::ptrace {

class PtraceAddressSpace final : public AddressSpace {
 public:
  explicit PtraceAddressSpace(Tracer& tracer) : tracer_(tracer), mu_(LockRank::kPlatformThread) {}

  // Threads through which the memory can be reached. Any living one will do; an ended leader's memory is gone from it
  // while the others go on.
  void AddThread(RefPtr<Tracee> tracee);
  void RemoveThread(const Tracee& tracee);

  Result<size_t> Read(GuestAddr from, void* to, size_t size) override;
  Result<size_t> Write(GuestAddr to, const void* from, size_t size) override;
  Result<uint32_t> CompareExchange(GuestAddr at, uint32_t expected, uint32_t desired) override;
  Usage GetUsage() override;

 private:
  using Transfer = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long);
  Result<size_t> Copy(Transfer transfer, GuestAddr remote, void* local, size_t size);
  RefPtr<Tracee> Thread(size_t index);
  // Runs the program on some thread, the calling worker's own if it has one here. ESRCH when none is left.
  Result<void> RunSomewhere(const InjectedCall& call, InjectedCall& result);

  Tracer& tracer_;
  Mutex mu_;
  std::vector<RefPtr<Tracee>> threads_ GUARDED_BY(mu_);
};

}  // namespace sandbox::platform::ptrace
