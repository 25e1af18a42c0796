#include "platform/ptrace/address_space.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>

#include "platform/ptrace/stub.h"

namespace sandbox::platform::ptrace {

void PtraceAddressSpace::AddThread(RefPtr<Tracee> tracee) {
  MutexLock lock(mu_);
  threads_.push_back(std::move(tracee));
}

void PtraceAddressSpace::RemoveThread(const Tracee& tracee) {
  MutexLock lock(mu_);
  std::erase_if(threads_, [&](const RefPtr<Tracee>& t) { return t.get() == &tracee; });
}

RefPtr<Tracee> PtraceAddressSpace::Thread(size_t index) {
  MutexLock lock(mu_);
  return index < threads_.size() ? threads_[index] : nullptr;
}

// The number of a thread that the host killed may in theory be another process's by the time of the call; host
// numbers are handed out in circles, so that takes a whole round between two lines of this function.
Result<size_t> PtraceAddressSpace::Copy(Transfer transfer, GuestAddr remote, void* local, size_t size) {
  if (size == 0) return size_t{0};
  // The stub's pages are not the guest's.
  if (remote.value() >= kGuestEnd) return Err(EFAULT);
  size = std::min(size, static_cast<size_t>(kGuestEnd - remote.value()));
  for (size_t index = 0;; ++index) {
    const RefPtr<Tracee> thread = Thread(index);
    if (thread == nullptr) return Err(EFAULT);
    const iovec here = {local, size};
    const iovec there = {reinterpret_cast<void*>(remote.value()), size};
    const ssize_t done = transfer(thread->tid, &here, 1, &there, 1, 0);
    if (done >= 0) return static_cast<size_t>(done);
    if (errno != ESRCH) return Err(EFAULT);
  }
}

Result<size_t> PtraceAddressSpace::Read(GuestAddr from, void* to, size_t size) {
  return Copy(&process_vm_readv, from, to, size);
}

Result<size_t> PtraceAddressSpace::Write(GuestAddr to, const void* from, size_t size) {
  return Copy(&process_vm_writev, to, const_cast<void*>(from), size);
}

Result<void> PtraceAddressSpace::RunSomewhere(const InjectedCall& call, InjectedCall& result) {
  // A worker's own thread is stopped already; any other would have to be interrupted first.
  RefPtr<Tracee> own = CurrentTracee();
  for (size_t index = 0;; ++index) {
    RefPtr<Tracee> thread = Thread(index);
    if (thread == nullptr) return Err(ESRCH);
    if (index == 0 && own != nullptr) {
      MutexLock lock(mu_);
      if (std::find(threads_.begin(), threads_.end(), own) != threads_.end()) thread = own;
    }
    Program program;
    program.calls.push_back(call);
    tracer_.Run(thread, program);
    result = program.calls[0];
    if (result.ran) return {};
  }
}

Result<uint32_t> PtraceAddressSpace::CompareExchange(GuestAddr at, uint32_t expected, uint32_t desired) {
  if (at.value() >= kGuestEnd) return Err(EFAULT);
  if (at.value() % sizeof(uint32_t) != 0) return Err(EINVAL);
  InjectedCall call;
  call.entry = kExchangeEntry;
  call.nr = expected;
  call.rcx = desired;
  call.args[0] = at.value();
  InjectedCall result;
  if (!RunSomewhere(call, result).ok() || result.faulted) return Err(EFAULT);
  return static_cast<uint32_t>(result.result);
}

AddressSpace::Usage PtraceAddressSpace::GetUsage() {
  InjectedCall call;
  call.entry = kSyscallEntry;
  call.nr = SYS_getrusage;
  call.args = {static_cast<uint64_t>(RUSAGE_SELF), kStubScratch + kScratchRusage};
  InjectedCall result;
  if (!RunSomewhere(call, result).ok() || result.failed()) return {};
  rusage usage;
  for (size_t index = 0;; ++index) {
    const RefPtr<Tracee> thread = Thread(index);
    if (thread == nullptr) return {};
    const iovec here = {&usage, sizeof(usage)};
    const iovec there = {reinterpret_cast<void*>(kStubScratch + kScratchRusage), sizeof(usage)};
    if (process_vm_readv(thread->tid, &here, 1, &there, 1, 0) == sizeof(usage)) break;
  }
  // The guest may have scribbled over it meanwhile: then it lies about itself.
  // The present size is not to be had; it was at most this.
  const uint64_t peak = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  return {.resident = peak,
          .peak_resident = peak,
          .anonymous = peak,
          .minor_faults = static_cast<uint64_t>(usage.ru_minflt),
          .major_faults = static_cast<uint64_t>(usage.ru_majflt)};
}

}  // namespace sandbox::platform::ptrace
