// Where the rewritten texts of an address space and their trampolines lie, for the way between what a thread's
// instruction pointer is and what the guest may see of it (text_rewriter.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/guest_addr.h"
#include "base/mutex.h"
#include "platform/api/text_rewriter.h"

namespace sandbox::platform::systrap {

class Trampolines {
 public:
  // See AddressSpace.
  void Add(GuestRange text, GuestRange zone, RefPtr<const TrampolineMap> map) EXCLUDES(mu_);
  void Retire(GuestRange zone) EXCLUDES(mu_);
  void Remove(GuestRange zone) EXCLUDES(mu_);

  // What the guest sees of `ip`: the original's address for one inside a zone.
  uint64_t Shown(uint64_t ip) const EXCLUDES(mu_);
  // Changes with every answer that changes.
  uint32_t version() const { return version_.load(std::memory_order_acquire); }
  // Where a thread has to go on that the guest sees at `ip`: in the zone, for a boundary inside a patched jump.
  uint64_t Continued(uint64_t ip) const EXCLUDES(mu_);
  // Whether `ip` is a boundary inside a jump that is, or was a moment ago, patched there: it may have faulted because
  // of that.
  bool InsideJump(uint64_t ip) const EXCLUDES(mu_);

 private:
  struct Entry {
    GuestRange text, zone;
    RefPtr<const TrampolineMap> map;
    bool retired = false;
  };
  const Entry* FindText(uint64_t ip) const REQUIRES(mu_);

  // To keep processes without rewritten text off the lock.
  std::atomic<bool> any_{false};
  std::atomic<uint32_t> version_{0};
  mutable Mutex mu_{LockRank::kLeaf};
  std::vector<Entry> entries_ GUARDED_BY(mu_);
};

}  // namespace sandbox::platform::systrap
