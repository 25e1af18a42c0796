// madvise(2), the mlock(2) family, msync(2), and names of anonymous memory.
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/mempolicy.h>

#include <algorithm>

#include "sentry/mm/memory_manager.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace sandbox {
namespace {

using platform::MemoryOp;

enum class AdviceKind {
  kIgnore,  // a hint whose effect only the host could see
  kList,    // changes flags of the mapping
  kHost,    // changes contents or residency: executed by the host
  kUnknown,
};

AdviceKind KindOf(int advice) {
  switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_MERGEABLE:  // same-page merging between guests is a side channel; Linux ignores it
                          // with KSM off
    case MADV_UNMERGEABLE:
      return AdviceKind::kIgnore;
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
      return AdviceKind::kList;
    case MADV_WILLNEED:
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_FREE:
    case MADV_REMOVE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_COLLAPSE:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_GUARD_INSTALL:
    case MADV_GUARD_REMOVE:
      return AdviceKind::kHost;
    default:
      return AdviceKind::kUnknown;
  }
}

// Advice that throws contents away.
bool IsDiscard(int advice) {
  switch (advice) {
    case MADV_FREE:
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_REMOVE:
    case MADV_DONTFORK:
    case MADV_WIPEONFORK:
    case MADV_GUARD_INSTALL:
      return true;
    default:
      return false;
  }
}

// What Linux refuses for one mapping (madvise_vma_behavior).
Result<void> CheckAdvice(const Vma& vma, int advice) {
  const bool anonymous = vma.mappable == nullptr;
  // Whoever may write there could do the same.
  if (vma.sealed && IsDiscard(advice) && anonymous && !vma.writable()) return Err(EPERM);
  switch (advice) {
    case MADV_DONTNEED:
      if (vma.locked) return Err(EINVAL);
      return {};
    case MADV_FREE:
    case MADV_WIPEONFORK:
      if (!anonymous || vma.shared) return Err(EINVAL);
      if (advice == MADV_FREE && vma.locked) return Err(EINVAL);
      return {};
    case MADV_REMOVE:
      if (vma.locked || anonymous) return Err(EINVAL);
      if (!vma.writable_shared()) return Err(EACCES);
      return {};
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_GUARD_INSTALL:
      if (vma.locked) return Err(EINVAL);
      return {};
    case MADV_POPULATE_READ:
      if (!(vma.prot & (PROT_READ | PROT_WRITE | PROT_EXEC))) return Err(EINVAL);
      return {};
    case MADV_POPULATE_WRITE:
      if (!vma.writable()) return Err(EINVAL);
      return {};
    default:
      return {};
  }
}

void ApplyToList(Vma& vma, int advice) {
  switch (advice) {
    case MADV_DONTFORK:
      vma.dont_fork = true;
      break;
    case MADV_DOFORK:
      vma.dont_fork = false;
      break;
    case MADV_WIPEONFORK:
      vma.wipe_on_fork = true;
      break;
    case MADV_KEEPONFORK:
      vma.wipe_on_fork = false;
      break;
    case MADV_DONTDUMP:
      vma.dont_dump = true;
      break;
    case MADV_DODUMP:
      vma.dont_dump = false;
      break;
    default:
      break;
  }
}

// Start and rounded length of a call whose length is in bytes; `wrap` is its errno for a range that
// wraps.
Result<GuestRange> CallRange(GuestAddr addr, uint64_t length, int wrap) {
  const uint64_t rounded = (length + kPageMask) & ~kPageMask;
  if (length != 0 && rounded == 0) return Err(wrap);
  const auto end = addr.Add(rounded);
  if (!end.ok()) return Err(wrap);
  return GuestRange{addr, *end};
}

// The pages that mlock(2) means; its sum may wrap, which is seen after the limit (Linux: do_mlock).
GuestRange LockRange(GuestAddr addr, uint64_t length) {
  const GuestAddr start = addr.PageDown();
  const uint64_t rounded = (length + (addr - start) + kPageMask) & ~kPageMask;
  return {start, GuestAddr(start.value() + rounded)};
}

}  // namespace

Result<void> MemoryManager::Advise(Context&, platform::Thread& thread, GuestAddr addr, uint64_t length, int advice) {
  const AdviceKind kind = KindOf(advice);
  // Injecting memory errors takes a privilege no guest has.
  if (advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE) return Err(EPERM);
  if (kind == AdviceKind::kUnknown || !addr.IsPageAligned()) return Err(EINVAL);
  const GuestRange range = TRY(CallRange(addr, length, EINVAL));
  if (range.empty()) return {};

  Result<void> result;
  Batch batch;
  {
    MutexLock lock(mu_);
    // Holes are skipped and reported at the end; a refusal ends the walk (madvise_walk_vmas).
    std::vector<GuestRange> runs;
    GuestAddr reached = range.start;
    vmas_.ForEach(range, [&](const Vma& vma) {
      if (vma.range.start > reached) result = Err(ENOMEM);
      if (auto allowed = CheckAdvice(vma, advice); !allowed.ok()) {
        result = allowed;
        return false;
      }
      const GuestRange part{std::max(vma.range.start, range.start), std::min(vma.range.end, range.end)};
      reached = part.end;
      if (!runs.empty() && runs.back().end == part.start)
        runs.back().end = part.end;
      else
        runs.push_back(part);
      return true;
    });
    if (result.ok() && reached < range.end) result = Err(ENOMEM);
    for (const GuestRange& run : runs) {
      if (kind == AdviceKind::kList) {
        TRY(CheckMapCount(vmas_.SplitsNeeded(run)));
        vmas_.Modify(run, [&](Vma& vma) { ApplyToList(vma, advice); });
      } else if (kind == AdviceKind::kHost) {
        // Nothing in the list changes, so there is nothing to undo. No memory of the host is locked.
        const int told = advice == MADV_DONTNEED_LOCKED ? MADV_DONTNEED : advice;
        batch.ops.push_back({.kind = MemoryOp::Kind::kAdvise, .range = run, .flags = told});
      }
    }
  }
  Queue(thread, batch);
  return result;
}

// Brings in what only this process uses. What else it locked is in the page cache as long as the host likes.
void MemoryManager::Populate(GuestRange range, Batch& batch) const {
  vmas_.ForEach(range, [&](const Vma& vma) {
    if (vma.mappable != nullptr || vma.grows_down || vma.prot == PROT_NONE) return true;
    const GuestRange part{std::max(vma.range.start, range.start), std::min(vma.range.end, range.end)};
    const int advice = vma.writable() ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
    batch.ops.push_back({.kind = MemoryOp::Kind::kAdvise, .range = part, .flags = advice});
    // Keeps the host, where nothing is dumped, from merging it with its neighbours: smaps is by mapping.
    batch.ops.push_back({.kind = MemoryOp::Kind::kAdvise, .range = part, .flags = MADV_DONTDUMP});
    return true;
  });
}

Result<void> MemoryManager::Lock(Context& context, platform::Thread& thread, GuestAddr addr, uint64_t length,
                                 bool on_fault) {
  const GuestRange range = LockRange(addr, length);
  bool accessible = true;
  Batch batch;
  {
    MutexLock lock(mu_);
    uint64_t locked = 0;
    vmas_.ForEach(range, [&](const Vma& vma) {
      if (vma.locked) locked += std::min(vma.range.end, range.end) - std::max(vma.range.start, range.start);
      accessible &= vma.prot != PROT_NONE;
      return true;
    });
    TRY(CheckLock(context, range.end.value() - range.start.value() - locked, ENOMEM));
    TRY(SetLocked(range, true));
    if (!on_fault) Populate(range, batch);
  }
  Queue(thread, batch);
  if (!accessible) return Err(ENOMEM);  // locked, but there is nothing to bring in
  return {};
}

Result<void> MemoryManager::Unlock(GuestAddr addr, uint64_t length) {
  MutexLock lock(mu_);
  return SetLocked(LockRange(addr, length), false);
}

// Linux: apply_vma_lock_flags. What lies before the first hole is changed.
Result<void> MemoryManager::SetLocked(GuestRange range, bool locked) {
  if (range.end < range.start) return Err(EINVAL);
  GuestAddr reached = range.start;
  vmas_.ForEach(range, [&](const Vma& vma) {
    if (vma.range.start > reached) return false;
    reached = std::min(vma.range.end, range.end);
    return true;
  });
  const GuestRange part{range.start, reached};
  TRY(CheckMapCount(vmas_.SplitsNeeded(part)));
  vmas_.Modify(part, [locked](Vma& vma) { vma.locked = locked; });
  if (reached < range.end) return Err(ENOMEM);
  return {};
}

Result<void> MemoryManager::LockAll(Context& context, platform::Thread& thread, int flags) {
  if (flags == 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT) return Err(EINVAL);
  Batch batch;
  {
    MutexLock lock(mu_);
    if (!context.creds().Has(CAP_IPC_LOCK)) {
      const uint64_t limit = context.rlimit(RLIMIT_MEMLOCK);
      if (limit == 0) return Err(EPERM);
      if ((flags & MCL_CURRENT) && TotalBytes() > limit) return Err(ENOMEM);
    }
    lock_future_ = flags & MCL_FUTURE;
    if (flags & MCL_CURRENT) {
      vmas_.Modify(range_, [](Vma& vma) { vma.locked = true; });
      if (!(flags & MCL_ONFAULT)) Populate(range_, batch);
    }
  }
  Queue(thread, batch);
  return {};
}

Result<void> MemoryManager::UnlockAll() {
  MutexLock lock(mu_);
  lock_future_ = false;
  vmas_.Modify(range_, [](Vma& vma) { vma.locked = false; });
  return {};
}

Result<void> MemoryManager::Seal(GuestAddr addr, uint64_t length) {
  if (!addr.IsPageAligned()) return Err(EINVAL);
  const GuestRange range = TRY(CallRange(addr, length, EINVAL));
  if (range.empty()) return {};
  MutexLock lock(mu_);
  if (!vmas_.Covers(range)) return Err(ENOMEM);
  TRY(CheckMapCount(vmas_.SplitsNeeded(range)));
  vmas_.Modify(range, [](Vma& vma) { vma.sealed = true; });
  return {};
}

Result<void> MemoryManager::SetPolicy(GuestAddr addr, uint64_t length, MemoryPolicy policy) {
  const GuestRange range = TRY(CallRange(addr, length, EINVAL));
  MutexLock lock(mu_);
  if (!vmas_.Covers(range)) return Err(EFAULT);
  TRY(CheckMapCount(vmas_.SplitsNeeded(range)));
  vmas_.Modify(range, [&](Vma& vma) { vma.policy = policy; });
  return {};
}

Result<void> MemoryManager::CheckHomeNode(GuestAddr addr, uint64_t length) const {
  const GuestRange range = TRY(CallRange(addr, length, EINVAL));
  if (range.empty()) return {};
  Result<void> result = Err(ENOENT);
  MutexLock lock(mu_);
  vmas_.ForEach(range, [&](const Vma& vma) {
    if (vma.policy.mode == MPOL_DEFAULT) return true;
    const bool takes_one = vma.policy.mode == MPOL_BIND || vma.policy.mode == MPOL_PREFERRED_MANY;
    result = takes_one ? Result<void>() : Err(EOPNOTSUPP);
    return takes_one;
  });
  return result;
}

Result<void> MemoryManager::CheckMapped(GuestAddr addr, uint64_t length) const {
  const GuestRange range = TRY(CallRange(addr, length, ENOMEM));
  MutexLock lock(mu_);
  if (!vmas_.Covers(range)) return Err(ENOMEM);
  return {};
}

Result<void> MemoryManager::Sync(Context& context, GuestAddr addr, uint64_t length, int flags) {
  if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || !addr.IsPageAligned()) return Err(EINVAL);
  if ((flags & MS_ASYNC) && (flags & MS_SYNC)) return Err(EINVAL);
  if (length > ~kPageMask) return {};  // rounds up to nothing, which msync alone takes for that
  const GuestRange range = TRY(CallRange(addr, length, ENOMEM));
  if (range.empty()) return {};
  std::vector<Vma> parts;
  bool covered;
  {
    MutexLock lock(mu_);
    parts = vmas_.Slices(range);
    covered = vmas_.Covers(range);
  }
  for (const Vma& vma : parts) {
    if ((flags & MS_INVALIDATE) && vma.locked) return Err(EBUSY);
    if (!(flags & MS_SYNC) || !vma.writable_shared() || vma.mappable == nullptr) continue;
    // Stores are in the host's page cache already, so only durability is left to do.
    auto backing = TRY(vma.mappable->Back(context, vma.offset, vma.range.length(), {PROT_READ, PROT_READ, true}));
    if (backing.fd.valid() && fdatasync(backing.fd.get()) != 0 && errno == EIO) return Err(EIO);
  }
  if (!covered) return Err(ENOMEM);
  return {};
}

Result<void> MemoryManager::SetAnonName(GuestAddr addr, uint64_t length, const std::string& name) {
  if (!addr.IsPageAligned()) return Err(EINVAL);
  const GuestRange range = TRY(CallRange(addr, length, EINVAL));
  if (range.empty()) return {};
  MutexLock lock(mu_);
  TRY(CheckMapCount(vmas_.SplitsNeeded(range)));
  bool all_anonymous = true;
  vmas_.Modify(range, [&](Vma& vma) {
    // The kernel's own labels ("[stack]") stay.
    if (vma.mappable != nullptr)
      all_anonymous = false;
    else if (vma.label.empty() || vma.label.starts_with("[anon:"))
      vma.label = name.empty() ? "" : "[anon:" + name + "]";
  });
  if (!all_anonymous) return Err(EBADF);
  if (!vmas_.Covers(range)) return Err(ENOMEM);
  return {};
}

}  // namespace sandbox
