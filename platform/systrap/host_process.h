// A stub process as the host sees it, and the address space that one or (vfork) several of them share.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <deque>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "platform/api/platform.h"
#include "platform/stub/layout.h"
#include "platform/systrap/shared_page.h"
#include "platform/systrap/trampolines.h"
#include "platform/systrap/zygote.h"

namespace sandbox::platform::systrap {

class GuestThread;

// Keeps a host pid from being reused while somebody acts on it: the reaper collects the process only when nobody does.
class HostProcess {
 public:
  // A clone under way: its number is not known before its first notification, from which the kernel tells it (Born).
  HostProcess() = default;
  explicit HostProcess(pid_t pid) : pid_(pid) {}
  pid_t pid() const { return pid_.load(); }  // 0: not born
  void Born(pid_t pid) { pid_.store(pid); }
  // What its parent says its number is: good for guesses only.
  void Claim(pid_t pid) { claimed_.store(pid); }
  pid_t claimed() const { return claimed_.load(); }

  // Runs `action(pid)` unless the process was declared dead or is not born; `action` may stall on page faults but holds
  // no lock.
  // Returns what it returned, or -1 with errno ESRCH.
  template <typename F>
  ssize_t WithPid(F action) {
    if (!Acquire()) {
      errno = ESRCH;
      return -1;
    }
    const pid_t pid = pid_.load();
    ssize_t result = -1;
    if (pid == 0) {
      errno = ESRCH;
    } else {
      result = action(pid);
    }
    const int saved = errno;
    Release();
    errno = saved;
    return result;
  }
  void Signal(int signo);
  void SignalThread(int tid, int signo);
  // Whether `tid` is a live thread of this process.
  bool HasThread(int tid);

  // The reaper: no new users from now on, and waits for the present ones.
  void Retire();

  void AddThread(const RefPtr<GuestThread>& thread) EXCLUDES(mu_);
  // Returns how many threads are left.
  size_t RemoveThread(const GuestThread* thread) EXCLUDES(mu_);
  std::vector<RefPtr<GuestThread>> Threads() EXCLUDES(mu_);
  size_t ThreadCount() EXCLUDES(mu_) {
    MutexLock lock(mu_);
    return threads_.size();
  }

 private:
  bool Acquire();
  void Release();

  std::atomic<pid_t> pid_{0}, claimed_{0};
  // Number of users, plus kRetired once the reaper has it.
  static constexpr uint32_t kRetired = 1u << 31;
  std::atomic<uint32_t> users_{0};
  Mutex mu_{LockRank::kPlatformThread};
  std::vector<RefPtr<GuestThread>> threads_ GUARDED_BY(mu_);
};

class StubSpace final : public AddressSpace {
 public:
  // `first_slot`: the slot of the thread that the space starts with.
  // `zygote` must outlive it.
  StubSpace(uint32_t first_slot, Zygote& zygote) : first_slot_(first_slot), zygote_(zygote) {}

  Result<size_t> Read(GuestAddr from, void* to, size_t size) override;
  Result<size_t> Write(GuestAddr to, const void* from, size_t size) override;
  // Executed by the calling thread's own stub, which is stopped in its trap. See the definition for what happens
  // without one.
  Result<uint32_t> CompareExchange(GuestAddr at, uint32_t expected, uint32_t desired) override;
  Zygote& zygote() const { return zygote_; }
  Usage GetUsage() override;
  std::vector<Residency> GetResidency() override;

  void AddTrampolines(GuestRange text, GuestRange zone, RefPtr<const TrampolineMap> map) override {
    trampolines_.Add(text, zone, std::move(map));
  }
  void RetireTrampolines(GuestRange zone) override { trampolines_.Retire(zone); }
  void RemoveTrampolines(GuestRange zone) override { trampolines_.Remove(zone); }
  const Trampolines& trampolines() const { return trampolines_; }

  // Like Read and Write, but may touch the platform's own region: signal frames.
  Result<size_t> ReadAny(uint64_t from, void* to, size_t size);
  Result<size_t> WriteAny(uint64_t to, const void* from, size_t size);

  void AddProcess(RefPtr<HostProcess> process) EXCLUDES(mu_);
  void RemoveProcess(const HostProcess* process) EXCLUDES(mu_);
  // The only thread, while it is not born; null from then on. Whoever wants the memory waits for it.
  void SetNewborn(RefPtr<GuestThread> thread) EXCLUDES(mu_);
  bool is_newborn(const GuestThread* thread) EXCLUDES(mu_) {
    MutexLock lock(mu_);
    return newborn_.get() == thread;
  }

  // A fresh stub's page, from its first answer on: whoever wants the memory waits until the stub has filled it. Null
  // from its first trap on.
  void SetFilling(RefPtr<SharedPage> page) EXCLUDES(mu_);

  // A slot for one more thread, with the page that is mapped there, if it is; ENOMEM when all are taken.
  struct Slot {
    uint32_t index = 0;
    RefPtr<SharedPage> page;
  };
  Result<Slot> AllocateSlot() EXCLUDES(mu_);
  // The slot is given out again only after the host thread that used it is gone. Not to other address spaces: whoever
  // shares this one may keep a view of the page.
  void FreeSlot(Slot slot, RefPtr<HostProcess> process, int tid) EXCLUDES(mu_);

 private:
  template <typename F>
  ssize_t WithProcess(F action);
  Result<uint32_t> CompareExchangeWithoutThread(GuestAddr at, uint32_t expected, uint32_t desired);

  struct FreedSlot {
    Slot slot;
    RefPtr<HostProcess> process;
    int tid;
  };
  Trampolines trampolines_;
  // Of the first process that lives; empty when there is none, or nothing to read it by.
  std::string ReadProcess(stub::ProcessFile file) EXCLUDES(mu_);

  const uint32_t first_slot_;
  Zygote& zygote_;
  Mutex mu_{LockRank::kPlatformThread};
  std::vector<RefPtr<HostProcess>> processes_ GUARDED_BY(mu_);
  RefPtr<GuestThread> newborn_ GUARDED_BY(mu_);
  RefPtr<SharedPage> filling_ GUARDED_BY(mu_);
  uint32_t next_slot_ GUARDED_BY(mu_) = 0;
  std::deque<FreedSlot> freed_ GUARDED_BY(mu_);
};

}  // namespace sandbox::platform::systrap
