// Waiting for a condition whose mutex inherits priority (futex(2), FUTEX_WAIT_REQUEUE_PI; Linux:
// kernel/futex/requeue.c): the waiter is moved to the mutex and comes back as its owner.
#include <linux/futex.h>

#include "base/cleanup.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {

Result<void> FutexTable::WaitRequeuePi(Task& task, GuestAddr from, GuestAddr lock, bool shared, uint32_t expected,
                                       uint32_t bitset, const Deadline& deadline) {
  if (from == lock || bitset == 0) return Err(EINVAL);
  FutexWaiter waiter;
  waiter.task = &task;
  waiter.bitset = bitset;
  RefPtr<void> keep_lock;
  waiter.move_to = TRY(KeyOf(task, lock, shared, &keep_lock));
  waiter.key = TRY(KeyOf(task, from, shared, &waiter.keep_alive));
  Enqueue(waiter);
  pi_waits_.fetch_add(1);
  const Cleanup count([this] { pi_waits_.fetch_sub(1); });
  const auto found = InPtr<uint32_t>(from).Read(task.memory());
  const bool stays = found.ok() && *found == expected;
  for (;;) {
    const Result<void> slept = !found.ok() ? Result<void>(found.error())
                               : !stays    ? Result<void>(Err(EAGAIN))
                                           : task.Block(deadline);
    if (waiter.woken.load()) return {};
    if (slept.ok()) continue;
    bool moved;
    if (!LeaveForMove(task, waiter, &moved)) return {};
    if (!slept.Is(kErestartsys)) return slept;
    // Once it was moved the condition has been told: another try would find the word changed.
    return moved ? Err(EAGAIN) : Err(kErestartnointr);
  }
}

// Takes the waiter out, wherever it is. False when it owns the lock.
bool FutexTable::LeaveForMove(Task& task, FutexWaiter& waiter, bool* moved) {
  for (;;) {
    FutexBucket* const bucket = waiter.bucket.load();
    if (bucket != nullptr) {
      MutexLock guard(bucket->mu);
      if (waiter.bucket.load() != bucket) continue;
      if (!waiter.pi) {
        bucket->waiters.erase(waiter.position);
        waiter.bucket.store(nullptr);
        *moved = false;
        return true;
      }
    }
    *moved = true;
    return LeavePi(task, waiter);
  }
}

// Moves at most `limit` waiters, in order. `*foreign`: one of them waits to be moved elsewhere, and nothing was done
// with it or those behind it.
int FutexTable::MoveToLock(FutexBucket& source, FutexBucket& target, const FutexKey& from_key, const FutexKey& lock_key,
                           const RefPtr<void>& keep_lock, int limit, int32_t owner,
                           bool* foreign) NO_THREAD_SAFETY_ANALYSIS {
  int moved = 0;
  // Buckets in address order.
  MutexLock first(&source < &target ? source.mu : target.mu);
  std::optional<MutexLock> second;
  if (&source != &target) second.emplace(&source < &target ? target.mu : source.mu);
  for (auto it = source.waiters.begin(); it != source.waiters.end() && moved < limit;) {
    FutexWaiter& waiter = **it++;
    if (waiter.key != from_key || waiter.pi) continue;
    if (waiter.move_to != lock_key) {
      *foreign = true;
      break;
    }
    source.waiters.erase(waiter.position);
    waiter.key = lock_key;
    waiter.keep_alive = keep_lock;
    waiter.pi = true;
    waiter.owner_tid.store(owner);
    waiter.position = target.waiters.insert(target.waiters.end(), &waiter);
    waiter.bucket.store(&target);
    ++moved;
  }
  return moved;
}

// There are waiters for the lock now: its owner must not free it without a call, and a free one is given away.
Result<void> FutexTable::MarkWaitedFor(Task& task, GuestAddr lock, const FutexKey& key) {
  uint32_t word = TRY(InPtr<uint32_t>(lock).Read(task.memory()));
  for (;;) {
    if ((word & FUTEX_TID_MASK) == 0) {
      const auto given = HandOver(task, lock, key, word, word & FUTEX_OWNER_DIED, 0);
      if (!given.Is(EPERM)) return given;  // else somebody was faster
      word = TRY(InPtr<uint32_t>(lock).Read(task.memory()));
      continue;
    }
    if (word & FUTEX_WAITERS) return {};
    const uint32_t found = TRY(task.mm().space()->CompareExchange(lock, word, word | FUTEX_WAITERS));
    if (found == word) return {};
    word = found;
  }
}

Result<int> FutexTable::CmpRequeuePi(Task& task, GuestAddr from, GuestAddr lock, bool shared, int wake, int requeue,
                                     uint32_t expected) {
  // One is woken, as the owner; the others follow as it unlocks.
  if (from == lock || wake != 1 || requeue < 0) return Err(EINVAL);
  RefPtr<void> keep_from, keep_lock;
  const FutexKey from_key = TRY(KeyOf(task, from, shared, &keep_from));
  const FutexKey lock_key = TRY(KeyOf(task, lock, shared, &keep_lock));
  if (from_key == lock_key) return Err(EINVAL);
  if (TRY(InPtr<uint32_t>(from).Read(task.memory())) != expected) return Err(EAGAIN);
  const uint32_t word = TRY(InPtr<uint32_t>(lock).Read(task.memory()));
  bool foreign = false;
  const int limit = requeue == INT32_MAX ? requeue : requeue + wake;
  const int moved = MoveToLock(BucketOf(from_key), BucketOf(lock_key), from_key, lock_key, keep_lock, limit,
                               static_cast<int32_t>(word & FUTEX_TID_MASK), &foreign);
  if (moved > 0) TRY(MarkWaitedFor(task, lock, lock_key));
  if (foreign && moved == 0) return Err(EINVAL);
  return moved;
}

}  // namespace sandbox
