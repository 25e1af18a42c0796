// Futexes (futex(2), Linux: kernel/futex) that are not the host's: PI locks, and all where the platform makes no host
// calls (task_futex.cc). Waiters hang in hashed buckets, keyed by the object that backs the word.
//
// No lock is held while guest memory is read: a waiter queues itself first and compares afterwards, so that a waker
// that changed the word before waking cannot miss it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "base/guest_addr.h"
#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/mm/memory_manager.h"

namespace sandbox {

class Task;
struct FutexBucket;

struct FutexKey {
  const void* object = nullptr;
  uint64_t offset = 0;
  friend bool operator==(const FutexKey&, const FutexKey&) = default;
};

// One wait; lives on the waiter's stack. Everything is guarded by the lock of the bucket it is queued in, but `bucket`
// itself may be read by the waiter to find that lock.
struct FutexWaiter {
  Task* task = nullptr;
  FutexKey key;
  RefPtr<void> keep_alive;
  uint32_t bitset = ~uint32_t{0};
  std::atomic<FutexBucket*> bucket{nullptr};  // null once woken
  std::list<FutexWaiter*>::iterator position;
  bool pi = false;  // waits for ownership
  // FUTEX_WAIT_REQUEUE_PI: the lock it is to be moved to; it waits for ownership from then on.
  std::optional<FutexKey> move_to;
  bool in_transfer = false;  // PI: an unlock is choosing this waiter, which must stay until it has decided
  std::atomic<bool> woken{false};
  std::atomic<int32_t> owner_tid{0};  // PI: who held the lock when last looked at
};

struct FutexBucket {
  Mutex mu{LockRank::kFutex};
  std::list<FutexWaiter*> waiters;
  uint64_t arrivals = 0;  // counts enqueues, for compare-and-requeue
};

class FutexTable {
 public:
  // Each returns Linux's result. `shared` is the absence of FUTEX_PRIVATE_FLAG.
  Result<void> Wait(Task& task, GuestAddr addr, bool shared, uint32_t expected, uint32_t bitset,
                    const Deadline& deadline);
  Result<int> Wake(Task& task, GuestAddr addr, bool shared, int count, uint32_t bitset);
  struct Word {
    GuestAddr addr;
    bool shared;
  };
  Result<int> Requeue(Task& task, Word from, Word to, int wake, int requeue, const uint32_t* expected);
  Result<int> WakeOp(Task& task, GuestAddr first, GuestAddr second, bool shared, int wake, int wake2, uint32_t op);
  struct WaitVector {
    GuestAddr addr;
    uint32_t expected;
    bool shared;
  };
  Result<int> WaitMultiple(Task& task, const std::vector<WaitVector>& words, const Deadline& deadline);

  Result<void> LockPi(Task& task, GuestAddr addr, bool shared, const Deadline& deadline, bool try_only);
  Result<void> UnlockPi(Task& task, GuestAddr addr, bool shared);
  // FUTEX_WAIT_REQUEUE_PI, FUTEX_CMP_REQUEUE_PI (futex_requeue_pi.cc). Who waits for a move is here whatever the
  // platform does with other waiters, which must not be woken at the same word (futex(2)).
  Result<void> WaitRequeuePi(Task& task, GuestAddr from, GuestAddr lock, bool shared, uint32_t expected,
                             uint32_t bitset, const Deadline& deadline);
  Result<int> CmpRequeuePi(Task& task, GuestAddr from, GuestAddr lock, bool shared, int wake, int requeue,
                           uint32_t expected);
  // The owner died without unlocking: marks the word and lets a waiter in (robust_list(2)).
  void OwnerDied(Task& task, GuestAddr addr, bool pi);
  // `task` ends: PI locks it still holds go to their waiters (Linux: exit_pi_state_list).
  void OwnerExits(Task& task);

 private:
  static constexpr size_t kBuckets = 256;
  Result<FutexKey> KeyOf(Task& task, GuestAddr addr, bool shared, RefPtr<void>* keep_alive);
  FutexBucket& BucketOf(const FutexKey& key);
  void Enqueue(FutexWaiter& waiter);
  // True when the waiter was still queued; false when it was woken meanwhile.
  bool Dequeue(FutexWaiter& waiter);
  int WakeKey(const FutexKey& key, int count, uint32_t bitset);
  bool LeavePi(Task& task, FutexWaiter& waiter);
  // `owner` is whom the word must name: the lock is his to give, or nobody's (0).
  Result<void> HandOver(Task& task, GuestAddr addr, const FutexKey& key, uint32_t word, uint32_t flags, uint32_t owner);
  int MoveToLock(FutexBucket& source, FutexBucket& target, const FutexKey& from_key, const FutexKey& lock_key,
                 const RefPtr<void>& keep_lock, int limit, int32_t owner, bool* foreign);
  bool LeaveForMove(Task& task, FutexWaiter& waiter, bool* moved);
  Result<void> MarkWaitedFor(Task& task, GuestAddr lock, const FutexKey& key);
  Result<bool> TryAcquirePi(Task& task, GuestAddr addr, bool mark_waiters, int32_t* owner);

  std::array<FutexBucket, kBuckets> buckets_;
  std::atomic<int> pi_waits_{0};  // exits look for owned locks only while somebody waits for one
};

}  // namespace sandbox
