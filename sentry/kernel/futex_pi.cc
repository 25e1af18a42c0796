// Priority-inheritance futexes, without the inheritance: ownership is handed over in arrival order (futex(2),
// "Priority- inheritance futexes"; Linux: kernel/futex/pi.c). The word holds the owner's tid and FUTEX_WAITERS.
#include <linux/futex.h>

#include "base/cleanup.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

Result<uint32_t> Swap(Task& task, GuestAddr addr, uint32_t expected, uint32_t desired) {
  return task.mm().space()->CompareExchange(addr, expected, desired);
}

}  // namespace

// One try: true when the caller owns the lock now. Else `*owner` holds it and FUTEX_WAITERS is set if asked for.
Result<bool> FutexTable::TryAcquirePi(Task& task, GuestAddr addr, bool mark_waiters, int32_t* owner) {
  const uint32_t self = static_cast<uint32_t>(task.pid()->own());
  uint32_t word = TRY(InPtr<uint32_t>(addr).Read(task.memory()));
  for (;;) {
    *owner = static_cast<int32_t>(word & FUTEX_TID_MASK);
    if (*owner == task.pid()->own()) return Err(EDEADLK);
    uint32_t desired;
    if (*owner == 0) {
      desired = self | (word & (FUTEX_WAITERS | FUTEX_OWNER_DIED));
    } else {
      if (!mark_waiters || (word & FUTEX_WAITERS)) return false;
      desired = word | FUTEX_WAITERS;
    }
    const uint32_t found = TRY(Swap(task, addr, word, desired));
    if (found == word) {
      if (*owner == 0) return true;
      return false;
    }
    word = found;
  }
}

Result<void> FutexTable::LockPi(Task& task, GuestAddr addr, bool shared, const Deadline& deadline, bool try_only) {
  FutexWaiter waiter;
  waiter.task = &task;
  waiter.pi = true;
  waiter.key = TRY(KeyOf(task, addr, shared, &waiter.keep_alive));
  int32_t owner = 0;
  if (try_only) {
    if (TRY(TryAcquirePi(task, addr, false, &owner))) return {};
    return Err(EAGAIN);
  }
  Enqueue(waiter);
  pi_waits_.fetch_add(1);
  const Cleanup count([this] { pi_waits_.fetch_sub(1); });
  for (;;) {
    const auto acquired = TryAcquirePi(task, addr, true, &owner);
    if (!acquired.ok() || *acquired) {
      // An unlock may be handing the lock to this waiter at the same time; then its word is ours already.
      if (!LeavePi(task, waiter)) return {};
      return acquired.ok() ? Result<void>() : acquired.error();
    }
    waiter.owner_tid.store(owner);
    if (task.Find(owner) == nullptr) {
      if (!LeavePi(task, waiter)) return {};
      return Err(ESRCH);
    }
    const auto slept = task.Block(deadline);
    if (waiter.woken.load()) return {};
    if (!slept.ok()) {
      if (!LeavePi(task, waiter)) return {};
      return slept;
    }
  }
}

// Takes the waiter out. False when the lock was handed to it.
bool FutexTable::LeavePi(Task& task, FutexWaiter& waiter) {
  for (;;) {
    if (waiter.woken.load()) return false;
    FutexBucket& bucket = BucketOf(waiter.key);
    {
      MutexLock lock(bucket.mu);
      if (waiter.woken.load()) return false;
      if (!waiter.in_transfer) {
        if (waiter.bucket.load() != nullptr) bucket.waiters.erase(waiter.position);
        waiter.bucket.store(nullptr);
        return true;
      }
    }
    // The unlocker decides within a few instructions.
    (void)task.BlockKillable(MonotonicTime{MonotonicNow().ns + 1'000'000});
  }
}

Result<void> FutexTable::UnlockPi(Task& task, GuestAddr addr, bool shared) {
  RefPtr<void> keep_alive;
  const FutexKey key = TRY(KeyOf(task, addr, shared, &keep_alive));
  const uint32_t word = TRY(InPtr<uint32_t>(addr).Read(task.memory()));
  if ((word & FUTEX_TID_MASK) != static_cast<uint32_t>(task.pid()->own())) return Err(EPERM);
  return HandOver(task, addr, key, word, 0, static_cast<uint32_t>(task.pid()->own()));
}

// Gives the lock whose word reads `word` to the first waiter, or frees it. `flags` are added to the new word.
Result<void> FutexTable::HandOver(Task& task, GuestAddr addr, const FutexKey& key, uint32_t word, uint32_t flags,
                                  uint32_t owner) {
  FutexBucket& bucket = BucketOf(key);
  for (;;) {
    FutexWaiter* next = nullptr;
    TaskRef next_task;
    bool more = false;
    {
      MutexLock lock(bucket.mu);
      for (FutexWaiter* waiter : bucket.waiters) {
        if (!waiter->pi || waiter->key != key) continue;
        if (next == nullptr) {
          next = waiter;
        } else {
          more = true;
        }
      }
      if (next != nullptr) {
        next->in_transfer = true;
        next_task = next->task->shared_from_this();
      }
    }
    uint32_t desired = flags;
    if (next != nullptr) desired |= static_cast<uint32_t>(next_task->pid()->own()) | (more ? FUTEX_WAITERS : 0);
    const auto found = Swap(task, addr, word, desired);
    const bool done = found.ok() && *found == word;
    if (next != nullptr) {
      MutexLock lock(bucket.mu);
      next->in_transfer = false;
      if (done) {
        bucket.waiters.erase(next->position);
        next->bucket.store(nullptr);
        next->woken.store(true);
      }
    }
    if (next_task != nullptr) next_task->Wake();
    if (!found.ok()) return found.error();
    if (done) return {};
    word = *found;  // a new waiter set FUTEX_WAITERS
    if ((word & FUTEX_TID_MASK) != owner) return Err(EPERM);
  }
}

void FutexTable::OwnerDied(Task& task, GuestAddr addr, bool pi) {
  const auto read = InPtr<uint32_t>(addr).Read(task.memory());
  if (addr.value() % sizeof(uint32_t) != 0 || !read.ok()) return;
  uint32_t word = *read;
  if ((word & FUTEX_TID_MASK) != static_cast<uint32_t>(task.pid()->own())) return;
  if (pi) {
    RefPtr<void> keep_alive;
    if (const auto key = KeyOf(task, addr, true, &keep_alive); key.ok()) {
      (void)HandOver(task, addr, *key, word, FUTEX_OWNER_DIED, static_cast<uint32_t>(task.pid()->own()));
    }
    return;
  }
  for (;;) {
    const auto found = Swap(task, addr, word, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
    if (!found.ok()) return;
    if (*found == word) break;
    word = *found;
    if ((word & FUTEX_TID_MASK) != static_cast<uint32_t>(task.pid()->own())) return;
  }
  if (!(word & FUTEX_WAITERS)) return;
  // Robust locks are waited for as shared words, whoever shares them (Linux: handle_futex_death).
  task.WakeOneWaiter(addr);
}

void FutexTable::OwnerExits(Task& task) {
  if (pi_waits_.load() == 0) return;
  struct Held {
    FutexKey key;
    GuestAddr addr;
  };
  std::vector<Held> held;
  for (FutexBucket& bucket : buckets_) {
    MutexLock lock(bucket.mu);
    for (const FutexWaiter* waiter : bucket.waiters) {
      if (!waiter->pi || waiter->owner_tid.load() != task.pid()->own()) continue;
      // Only a lock in memory the dying task can name: a waiter in another process sees its own address.
      if (waiter->key.object == &task.mm()) held.push_back({waiter->key, GuestAddr(waiter->key.offset)});
    }
  }
  for (const Held& lock : held) {
    const auto word = InPtr<uint32_t>(lock.addr).Read(task.memory());
    if (!word.ok() || (*word & FUTEX_TID_MASK) != static_cast<uint32_t>(task.pid()->own())) continue;
    (void)HandOver(task, lock.addr, lock.key, *word, FUTEX_OWNER_DIED, static_cast<uint32_t>(task.pid()->own()));
  }
}

}  // namespace sandbox
