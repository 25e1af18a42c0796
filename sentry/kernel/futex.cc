#include "sentry/kernel/futex.h"

#include <linux/futex.h>

#include <functional>

#include "sentry/kernel/task.h"

namespace sandbox {

Result<FutexKey> FutexTable::KeyOf(Task& task, GuestAddr addr, bool shared, RefPtr<void>* keep_alive) {
  if (addr.value() % sizeof(uint32_t) != 0) return Err(EINVAL);
  if (!shared) {
    // A private word is named by the address space alone; the read that follows finds out whether it is mapped.
    return FutexKey{&task.mm(), addr.value()};
  }
  MemoryManager::FutexPlace place = TRY(task.mm().PlaceOf(addr, false));
  *keep_alive = std::move(place.keep_alive);
  return FutexKey{place.object, place.offset};
}

FutexBucket& FutexTable::BucketOf(const FutexKey& key) {
  const size_t hash = std::hash<const void*>{}(key.object) * 31 + key.offset / 4 * 0x9e3779b97f4a7c15;
  return buckets_[(hash ^ hash >> 29) % kBuckets];
}

void FutexTable::Enqueue(FutexWaiter& waiter) {
  FutexBucket& bucket = BucketOf(waiter.key);
  MutexLock lock(bucket.mu);
  waiter.position = bucket.waiters.insert(bucket.waiters.end(), &waiter);
  waiter.bucket.store(&bucket);
  ++bucket.arrivals;
}

bool FutexTable::Dequeue(FutexWaiter& waiter) {
  // A requeue may move the waiter to another bucket while its lock is being taken.
  for (;;) {
    FutexBucket* bucket = waiter.bucket.load();
    if (bucket == nullptr) return false;
    MutexLock lock(bucket->mu);
    if (waiter.bucket.load() != bucket) continue;
    bucket->waiters.erase(waiter.position);
    waiter.bucket.store(nullptr);
    return true;
  }
}

namespace {

// With the bucket's lock held. The waiter is gone from its stack as soon as `bucket` is null, so the task is taken
// first.
void Release(FutexBucket& bucket, FutexWaiter& waiter, std::vector<TaskRef>& woken) {
  woken.push_back(waiter.task->shared_from_this());
  bucket.waiters.erase(waiter.position);
  waiter.woken.store(true);
  waiter.bucket.store(nullptr);
}

void WakeAll(const std::vector<TaskRef>& tasks) {
  for (const TaskRef& task : tasks) task->Wake();
}

}  // namespace

Result<void> FutexTable::Wait(Task& task, GuestAddr addr, bool shared, uint32_t expected, uint32_t bitset,
                              const Deadline& deadline) {
  if (bitset == 0) return Err(EINVAL);
  FutexWaiter waiter;
  waiter.task = &task;
  waiter.bitset = bitset;
  waiter.key = TRY(KeyOf(task, addr, shared, &waiter.keep_alive));
  Enqueue(waiter);
  const auto found = InPtr<uint32_t>(addr).Read(task.memory());
  if (!found.ok() || *found != expected) {
    // Woken already: that counts as a wait that ended.
    if (!Dequeue(waiter)) return {};
    return found.ok() ? Err(EAGAIN) : found.error();
  }
  while (waiter.bucket.load() != nullptr) {
    if (const auto slept = task.Block(deadline); !slept.ok()) {
      if (!Dequeue(waiter)) return {};
      return slept;
    }
  }
  return {};
}

int FutexTable::WakeKey(const FutexKey& key, int count, uint32_t bitset) {
  std::vector<TaskRef> woken;
  FutexBucket& bucket = BucketOf(key);
  {
    MutexLock lock(bucket.mu);
    for (auto it = bucket.waiters.begin(); it != bucket.waiters.end() && static_cast<int>(woken.size()) < count;) {
      FutexWaiter& waiter = **it++;
      if (waiter.key == key && !waiter.pi && !waiter.move_to && (waiter.bitset & bitset))
        Release(bucket, waiter, woken);
    }
  }
  WakeAll(woken);
  return static_cast<int>(woken.size());
}

Result<int> FutexTable::Wake(Task& task, GuestAddr addr, bool shared, int count, uint32_t bitset) {
  if (bitset == 0) return Err(EINVAL);
  RefPtr<void> keep_alive;
  const FutexKey key = TRY(KeyOf(task, addr, shared, &keep_alive));
  return WakeKey(key, count, bitset);
}

Result<int> FutexTable::Requeue(Task& task, Word from, Word to, int wake, int requeue, const uint32_t* expected) {
  if (wake < 0 || requeue < 0) return Err(EINVAL);
  RefPtr<void> keep_from, keep_to;
  const FutexKey from_key = TRY(KeyOf(task, from.addr, from.shared, &keep_from));
  const FutexKey to_key = TRY(KeyOf(task, to.addr, to.shared, &keep_to));
  FutexBucket& source = BucketOf(from_key);
  FutexBucket& target = BucketOf(to_key);
  for (;;) {
    uint64_t arrivals;
    {
      MutexLock lock(source.mu);
      arrivals = source.arrivals;
    }
    if (expected != nullptr) {
      const uint32_t found = TRY(InPtr<uint32_t>(from.addr).Read(task.memory()));
      if (found != *expected) return Err(EAGAIN);
    }
    std::vector<TaskRef> woken;
    int moved = 0;
    {
      // Buckets in address order.
      MutexLock first(&source < &target ? source.mu : target.mu);
      std::optional<MutexLock> second;
      if (&source != &target) second.emplace(&source < &target ? target.mu : source.mu);
      // Somebody queued between the comparison and now: the comparison does not cover him.
      if (expected != nullptr && source.arrivals != arrivals) continue;
      for (auto it = source.waiters.begin(); it != source.waiters.end();) {
        FutexWaiter& waiter = **it++;
        if (waiter.key != from_key || waiter.pi || waiter.move_to) continue;
        if (static_cast<int>(woken.size()) < wake) {
          Release(source, waiter, woken);
        } else if (moved < requeue && from_key == to_key) {
          ++moved;  // they stay, and count: moved behind the others they would come up again and again
        } else if (moved < requeue) {
          source.waiters.erase(waiter.position);
          waiter.key = to_key;
          waiter.keep_alive = keep_to;
          waiter.position = target.waiters.insert(target.waiters.end(), &waiter);
          waiter.bucket.store(&target);
          ++target.arrivals;
          ++moved;
          if (&source == &target) arrivals = source.arrivals;
        } else {
          break;
        }
      }
    }
    WakeAll(woken);
    return static_cast<int>(woken.size()) + moved;
  }
}

namespace {

int32_t SignExtend12(uint32_t value) { return static_cast<int32_t>(value << 20) >> 20; }

Result<uint32_t> Apply(uint32_t op, uint32_t old, uint32_t argument) {
  switch (op) {
    case FUTEX_OP_SET:
      return argument;
    case FUTEX_OP_ADD:
      return old + argument;
    case FUTEX_OP_OR:
      return old | argument;
    case FUTEX_OP_ANDN:
      return old & ~argument;
    case FUTEX_OP_XOR:
      return old ^ argument;
    default:
      return Err(ENOSYS);
  }
}

Result<bool> Compare(uint32_t comparison, int32_t old, int32_t argument) {
  switch (comparison) {
    case FUTEX_OP_CMP_EQ:
      return old == argument;
    case FUTEX_OP_CMP_NE:
      return old != argument;
    case FUTEX_OP_CMP_LT:
      return old < argument;
    case FUTEX_OP_CMP_LE:
      return old <= argument;
    case FUTEX_OP_CMP_GT:
      return old > argument;
    case FUTEX_OP_CMP_GE:
      return old >= argument;
    default:
      return Err(ENOSYS);
  }
}

}  // namespace

Result<int> FutexTable::WakeOp(Task& task, GuestAddr first, GuestAddr second, bool shared, int wake, int wake2,
                               uint32_t encoded) {
  RefPtr<void> keep_first, keep_second;
  const FutexKey first_key = TRY(KeyOf(task, first, shared, &keep_first));
  const FutexKey second_key = TRY(KeyOf(task, second, shared, &keep_second));
  const uint32_t op = encoded >> 28 & 7, comparison = encoded >> 24 & 15;
  uint32_t argument = SignExtend12(encoded >> 12 & 0xfff);
  if (encoded >> 31) argument = uint32_t{1} << (argument & 31);
  const int32_t compared = SignExtend12(encoded & 0xfff);
  uint32_t old = TRY(InPtr<uint32_t>(second).Read(task.memory()));
  for (;;) {
    const uint32_t desired = TRY(Apply(op, old, argument));
    const uint32_t found = TRY(task.mm().space()->CompareExchange(second, old, desired));
    if (found == old) break;
    old = found;
  }
  int woken = WakeKey(first_key, wake, ~uint32_t{0});
  if (TRY(Compare(comparison, static_cast<int32_t>(old), compared))) woken += WakeKey(second_key, wake2, ~uint32_t{0});
  return woken;
}

Result<int> FutexTable::WaitMultiple(Task& task, const std::vector<WaitVector>& words, const Deadline& deadline) {
  std::vector<FutexWaiter> waiters(words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    waiters[i].task = &task;
    waiters[i].key = TRY(KeyOf(task, words[i].addr, words[i].shared, &waiters[i].keep_alive));
  }
  size_t queued = 0;
  // Takes all out; the last one that had been woken is the answer (Linux: futex_unqueue_multiple).
  const auto dequeue_all = [&] {
    int woken = -1;
    for (size_t i = 0; i < queued; ++i) {
      if (!Dequeue(waiters[i])) woken = static_cast<int>(i);
    }
    return woken;
  };
  for (size_t i = 0; i < words.size(); ++i) {
    Enqueue(waiters[i]);
    ++queued;
    const auto found = InPtr<uint32_t>(words[i].addr).Read(task.memory());
    if (found.ok() && *found == words[i].expected) continue;
    if (const int woken = dequeue_all(); woken >= 0) return woken;
    return found.ok() ? Err(EAGAIN) : found.error();
  }
  for (;;) {
    bool any = false;
    for (const FutexWaiter& waiter : waiters) any = any || waiter.bucket.load() == nullptr;
    const Result<void> slept = any ? Result<void>() : task.Block(deadline);
    if (!any && slept.ok()) continue;
    const int woken = dequeue_all();
    if (woken >= 0) return woken;
    return slept.error();
  }
}

}  // namespace sandbox
