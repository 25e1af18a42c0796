#include "platform/systrap/host_process.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "platform/systrap/guest_thread.h"
#include "platform/systrap/proc_text.h"
#include "platform/systrap/worker.h"

namespace sandbox::platform::systrap {
namespace {

// A fresh stub takes microseconds. The word is in the guest's reach soon after that, so nobody waits for it long.
constexpr int kFillTimeoutMs = 1000;

}  // namespace

bool HostProcess::Acquire() {
  if ((users_.fetch_add(1, std::memory_order_acquire) & kRetired) == 0) return true;
  Release();
  return false;
}

void HostProcess::Release() {
  if (users_.fetch_sub(1, std::memory_order_release) == kRetired + 1) users_.notify_all();
}

void HostProcess::Retire() {
  uint32_t now = users_.fetch_or(kRetired) | kRetired;
  while (now != kRetired) {
    users_.wait(now);
    now = users_.load();
  }
}

void HostProcess::Signal(int signo) {
  WithPid([&](pid_t pid) { return ::kill(pid, signo); });
}

void HostProcess::SignalThread(int tid, int signo) {
  WithPid([&](pid_t pid) { return ::syscall(SYS_tgkill, pid, tid, signo); });
}

bool HostProcess::HasThread(int tid) {
  return WithPid([&](pid_t pid) { return ::syscall(SYS_tgkill, pid, tid, 0); }) == 0;
}

void HostProcess::AddThread(const RefPtr<GuestThread>& thread) {
  MutexLock lock(mu_);
  threads_.push_back(thread);
}

size_t HostProcess::RemoveThread(const GuestThread* thread) {
  RefPtr<GuestThread> gone;
  MutexLock lock(mu_);
  const auto entry = std::find_if(threads_.begin(), threads_.end(), [&](const auto& t) { return t.get() == thread; });
  if (entry != threads_.end()) {
    gone = std::move(*entry);
    threads_.erase(entry);
  }
  return threads_.size();
}

std::vector<RefPtr<GuestThread>> HostProcess::Threads() {
  MutexLock lock(mu_);
  return threads_;
}

void StubSpace::SetNewborn(RefPtr<GuestThread> thread) {
  MutexLock lock(mu_);
  newborn_.swap(thread);  // the old one is released after the lock
}

void StubSpace::SetFilling(RefPtr<SharedPage> page) {
  MutexLock lock(mu_);
  filling_.swap(page);
}

template <typename F>
ssize_t StubSpace::WithProcess(F action) {
  RefPtr<GuestThread> newborn;
  RefPtr<SharedPage> filling;
  {
    MutexLock lock(mu_);
    newborn = newborn_;
    filling = filling_;
  }
  if (newborn) (void)newborn->AwaitBirth();
  if (filling && __atomic_load_n(&(*filling)->filled, __ATOMIC_ACQUIRE) == 0) {
    __atomic_store_n(&(*filling)->filled_wanted, 1, __ATOMIC_SEQ_CST);
    (void)FutexWaitSet(&(*filling)->filled, kFillTimeoutMs);
  }
  for (size_t i = 0;; ++i) {
    RefPtr<HostProcess> process;
    {
      MutexLock lock(mu_);
      if (i >= processes_.size()) break;
      process = processes_[i];
    }
    const ssize_t result = process->WithPid(action);
    // A dead or dying process no longer shows its memory; one that shares it may.
    if (result >= 0 || errno != ESRCH) return result;
  }
  errno = EFAULT;
  return -1;
}

Result<size_t> StubSpace::ReadAny(uint64_t from, void* to, size_t size) {
  const iovec local = {to, size};
  const iovec remote = {reinterpret_cast<void*>(from), size};
  const ssize_t n = WithProcess([&](pid_t pid) { return ::process_vm_readv(pid, &local, 1, &remote, 1, 0); });
  if (n > 0) return static_cast<size_t>(n);
  return Err(EFAULT);
}

Result<size_t> StubSpace::WriteAny(uint64_t to, const void* from, size_t size) {
  const iovec local = {const_cast<void*>(from), size};
  const iovec remote = {reinterpret_cast<void*>(to), size};
  const ssize_t n = WithProcess([&](pid_t pid) { return ::process_vm_writev(pid, &local, 1, &remote, 1, 0); });
  if (n > 0) return static_cast<size_t>(n);
  return Err(EFAULT);
}

Result<size_t> StubSpace::Read(GuestAddr from, void* to, size_t size) {
  if (size == 0) return size_t{0};
  if (from.value() >= stub::kRegionStart) return Err(EFAULT);
  return ReadAny(from.value(), to, std::min(size, stub::kRegionStart - from.value()));
}

Result<size_t> StubSpace::Write(GuestAddr to, const void* from, size_t size) {
  if (size == 0) return size_t{0};
  if (to.value() >= stub::kRegionStart) return Err(EFAULT);
  return WriteAny(to.value(), from, std::min(size, stub::kRegionStart - to.value()));
}

std::string StubSpace::ReadProcess(stub::ProcessFile file) {
  std::string text;
  (void)WithProcess([&](pid_t pid) -> ssize_t {
    auto read = zygote_.ReadProcess(pid, file);
    if (read.ok()) text = *std::move(read);
    errno = ESRCH;
    return read.ok() ? 0 : -1;
  });
  return text;
}

AddressSpace::Usage StubSpace::GetUsage() {
  Usage usage = UsageFromStatus(ReadProcess(stub::ProcessFile::kStatus));
  AddFaultsFromStat(ReadProcess(stub::ProcessFile::kStat), usage);
  return usage;
}

std::vector<AddressSpace::Residency> StubSpace::GetResidency() {
  auto all = ResidencyFromSmaps(ReadProcess(stub::ProcessFile::kSmaps));
  // The platform's own mappings are not the guest's.
  std::erase_if(all, [](const Residency& one) { return one.range.start.value() >= stub::kRegionStart; });
  return all;
}

Result<uint32_t> StubSpace::CompareExchange(GuestAddr at, uint32_t expected, uint32_t desired) {
  if (at.value() % sizeof(uint32_t) != 0) return Err(EINVAL);
  if (at.value() >= stub::kRegionStart) return Err(EFAULT);
  GuestThread* const current = CurrentGuestThread();
  if (current == nullptr || current->space().get() != this) return CompareExchangeWithoutThread(at, expected, desired);
  return current->CompareExchange(at, expected, desired);
}

// For callers that are not serving a trap of this address space (cleanup of robust futexes after a kill, for
// example). No thread of ours can execute the instruction, so this is a read, a comparison and a write: not atomic
// against guest threads that still run. Such callers act for a thread that is gone, whose word nobody else may change
// except by waiting for it.
Result<uint32_t> StubSpace::CompareExchangeWithoutThread(GuestAddr at, uint32_t expected, uint32_t desired) {
  uint32_t found = 0;
  if (TRY(Read(at, &found, sizeof(found))) != sizeof(found)) return Err(EFAULT);
  if (found == expected && TRY(Write(at, &desired, sizeof(desired))) != sizeof(desired)) return Err(EFAULT);
  return found;
}

void StubSpace::AddProcess(RefPtr<HostProcess> process) {
  MutexLock lock(mu_);
  processes_.push_back(std::move(process));
}

void StubSpace::RemoveProcess(const HostProcess* process) {
  MutexLock lock(mu_);
  std::erase_if(processes_, [&](const auto& p) { return p.get() == process; });
}

Result<StubSpace::Slot> StubSpace::AllocateSlot() {
  MutexLock lock(mu_);
  if (!freed_.empty() && !freed_.front().process->HasThread(freed_.front().tid)) {
    Slot slot = std::move(freed_.front().slot);
    freed_.pop_front();
    return slot;
  }
  if (next_slot_ == first_slot_) ++next_slot_;
  if (next_slot_ >= stub::kMaxSlots) return Err(ENOMEM);
  return Slot{.index = next_slot_++};
}

void StubSpace::FreeSlot(Slot slot, RefPtr<HostProcess> process, int tid) {
  MutexLock lock(mu_);
  freed_.push_back({std::move(slot), std::move(process), tid});
}

}  // namespace sandbox::platform::systrap
