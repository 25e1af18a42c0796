#include "sentry/vfs/record_locks.h"

#include <algorithm>
#include <map>

namespace sandbox {
namespace {

// Who waits for whom among process locks (Linux: blocked_hash). A wait that would close a cycle is refused.
class WaitGraph {
 public:
  static WaitGraph& Get() {
    static WaitGraph& graph = *new WaitGraph;
    return graph;
  }
  // False when `waiter` waiting for `holder` would be a deadlock.
  bool Add(const void* waiter, const void* holder) {
    MutexLock lock(mu_);
    const void* at = holder;
    // Linux follows at most ten links (MAX_DEADLK_ITERATIONS); a graph without cycles ends by itself.
    for (size_t steps = 0; steps <= waits_.size(); ++steps) {
      if (at == waiter) return false;
      auto it = waits_.find(at);
      if (it == waits_.end()) break;
      at = it->second;
    }
    waits_.insert_or_assign(waiter, holder);
    return true;
  }
  void Remove(const void* waiter) {
    MutexLock lock(mu_);
    waits_.erase(waiter);
  }

 private:
  Mutex mu_{LockRank::kLeaf};
  // Threads of one process may wait for several locks; keeping the last one misses some cycles, as Linux may.
  std::map<const void*, const void*> waits_ GUARDED_BY(mu_);
};

bool Conflict(LockType a, LockType b) { return a == LockType::kExclusive || b == LockType::kExclusive; }

}  // namespace

const RangeLock* RecordLocks::FindConflict(const RangeLock& wanted) const {
  for (const RangeLock& held : ranges_) {
    if (held.owner == wanted.owner || held.start >= wanted.end || wanted.start >= held.end) continue;
    if (Conflict(held.type, wanted.type)) return &held;
  }
  return nullptr;
}

Result<void> RecordLocks::TrySet(const RangeLock& lock, const void** blocker) {
  {
    MutexLock guard(mu_);
    if (const RangeLock* held = FindConflict(lock)) {
      *blocker = held->owner;
      return Err(EAGAIN);
    }
    InsertRange(lock);
  }
  // A conversion from exclusive to shared may let others in.
  if (lock.type == LockType::kShared) queue_.Notify(kEventIn);
  return {};
}

Result<void> RecordLocks::Set(Context& context, const RangeLock& lock, bool wait) {
  const void* blocker = nullptr;
  if (!wait) return TrySet(lock, &blocker);
  const bool process_lock = lock.pid >= 0;
  bool deadlock = false;
  auto result = BlockUntil(context, queue_, kEventIn, {}, [&]() -> Result<void> {
    auto attempt = TrySet(lock, &blocker);
    if (!attempt.Is(EAGAIN)) return attempt;
    if (process_lock && !WaitGraph::Get().Add(lock.owner, blocker)) deadlock = true;
    return deadlock ? Err(EDEADLK) : Err(EAGAIN);
  });
  if (process_lock) WaitGraph::Get().Remove(lock.owner);
  return result;
}

void RecordLocks::InsertRange(const RangeLock& lock) {
  ClearRange(lock.owner, lock.start, lock.end);
  RangeLock merged = lock;
  for (auto it = ranges_.begin(); it != ranges_.end();) {
    const bool touches =
        it->owner == lock.owner && it->type == lock.type && it->start <= merged.end && merged.start <= it->end;
    if (!touches) {
      ++it;
      continue;
    }
    merged.start = std::min(merged.start, it->start);
    merged.end = std::max(merged.end, it->end);
    it = ranges_.erase(it);
  }
  auto place = std::find_if(ranges_.begin(), ranges_.end(), [&](const RangeLock& r) { return r.start > merged.start; });
  ranges_.insert(place, merged);
}

void RecordLocks::ClearRange(const void* owner, int64_t start, int64_t end) {
  for (auto it = ranges_.begin(); it != ranges_.end();) {
    if (it->owner != owner || it->start >= end || start >= it->end) {
      ++it;
      continue;
    }
    const RangeLock old = *it;
    if (old.start < start) {
      it->end = start;
      ++it;
    } else {
      it = ranges_.erase(it);
    }
    if (old.end > end) {
      RangeLock tail = old;
      tail.start = end;
      it = std::next(ranges_.insert(it, tail));
    }
  }
}

void RecordLocks::Clear(const void* owner, int64_t start, int64_t end) {
  {
    MutexLock lock(mu_);
    if (ranges_.empty()) return;
    ClearRange(owner, start, end);
  }
  queue_.Notify(kEventIn);
}

std::optional<RangeLock> RecordLocks::Conflicting(const RangeLock& wanted) const {
  MutexLock lock(mu_);
  const RangeLock* held = FindConflict(wanted);
  if (held == nullptr) return std::nullopt;
  return *held;
}

Result<void> RecordLocks::TryFlock(const void* description, LockType type, int32_t pid) {
  bool converted = false, granted = false;
  {
    MutexLock lock(mu_);
    auto own =
        std::find_if(whole_.begin(), whole_.end(), [&](const WholeLock& w) { return w.description == description; });
    if (own != whole_.end()) {
      if (own->type == type) return {};
      // Converting drops the old lock first: flock(2) says a conversion is not atomic.
      whole_.erase(own);
      converted = true;
    }
    granted = std::none_of(whole_.begin(), whole_.end(), [&](const WholeLock& w) { return Conflict(w.type, type); });
    if (granted) whole_.push_back({description, type, pid});
  }
  if (converted) queue_.Notify(kEventIn);
  if (!granted) return Err(EAGAIN);
  return {};
}

Result<void> RecordLocks::Flock(Context& context, const void* description, LockType type, bool wait, int32_t pid) {
  if (!wait) return TryFlock(description, type, pid);
  return BlockUntil(context, queue_, kEventIn, {}, [&] { return TryFlock(description, type, pid); });
}

void RecordLocks::Unflock(const void* description) {
  {
    MutexLock lock(mu_);
    if (std::erase_if(whole_, [&](const WholeLock& w) { return w.description == description; }) == 0) return;
  }
  queue_.Notify(kEventIn);
}

void RecordLocks::ReleaseDescription(const void* description) {
  Clear(description, 0, kLockToEof);
  Unflock(description);
}

std::vector<HeldLock> RecordLocks::List() const {
  std::vector<HeldLock> all;
  MutexLock lock(mu_);
  for (const RangeLock& range : ranges_) all.push_back({range, false});
  for (const WholeLock& whole : whole_) {
    all.push_back({{whole.type, 0, kLockToEof, whole.description, whole.pid}, true});
  }
  return all;
}

}  // namespace sandbox
