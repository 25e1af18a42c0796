// Whether waking threads may be saved by watching: a sentry thread that spins on a guest's page
// answers its next call in a fraction of the time that any wake-up takes, but it needs a processor
// that nobody else wants.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <unordered_set>

#include "base/mutex.h"

namespace sandbox::platform::systrap {

// CLOCK_MONOTONIC, nanoseconds.
int64_t MonotonicNs();

class SpinPolicy {
 public:
  SpinPolicy();

  // Guest threads that are not blocked in the sentry.
  void ThreadRuns() { running_.fetch_add(1, std::memory_order_relaxed); }
  // One of them goes on after another woke it.
  void ThreadUnblocks() {
    ThreadRuns();
    unblocked_ns_.store(MonotonicNs(), std::memory_order_relaxed);
  }
  void ThreadStops() { running_.fetch_sub(1, std::memory_order_relaxed); }
  // Sentry threads that watch a page.
  void BeginWatch() { watching_.fetch_add(1, std::memory_order_relaxed); }
  void EndWatch() { watching_.fetch_sub(1, std::memory_order_relaxed); }

  // Guest threads that run may really sleep in a host call of their own: then the word, which the
  // guest can write at any time, is not zero.
  void AddThread(const uint32_t* asleep) EXCLUDES(mu_);
  void RemoveThread(const uint32_t* asleep) EXCLUDES(mu_);

  // Whether there are processors for one more watching thread, or (`watching`) for those that watch
  // now, next to all guest threads that run.
  bool Spare(bool watching) EXCLUDES(mu_) {
    const int wanted =
        running_.load(std::memory_order_relaxed) + watching_.load(std::memory_order_relaxed) + (watching ? 0 : 1);
    return wanted <= processors_ || wanted - Asleep() <= processors_;
  }
  // Guest threads that wake each other take turns: the one that is blocked now will want its processor in a moment, and
  // is served worse for every watch that it interrupts (redis lost 40 %). True when that has not happened lately.
  bool Calm(int64_t now_ns) const { return now_ns - unblocked_ns_.load(std::memory_order_relaxed) > kCalmNs; }
  // Whether a shared watch of `members` threads may have a processor: there is one for it, and one for those, next to
  // all other guest threads that run.
  bool SpareForShared(int members) EXCLUDES(mu_) {
    const int others = std::max(running_.load(std::memory_order_relaxed) - members, 0);
    return processors_ > 1 && (others + 2 <= processors_ || others - Asleep() + 2 <= processors_);
  }

  // What a call costs that wakes the sentry and is woken by it on the same processor; on some hosts ten times what it
  // is on others. Told by the time from a call's answer to the thread's next call, of which one in three is shorter:
  // the least ones say little, since two processors may have been idle, and the others hold the guest's own work.
  void NoteHandOff(int64_t ns);
  int64_t HandOffNs() const { return hand_off_ns_.load(std::memory_order_relaxed); }

  // How long a stub with a watched page waits until its call is taken up, and then for its answer before it sleeps.
  // Most calls take a tenth of it.
  uint32_t StubSpinCycles() const { return Cycles(std::max(kStubSpinNs, kStubSpinHandOffs * HandOffNs())); }

  // Time-stamp counter ticks in `ns` nanoseconds.
  uint32_t Cycles(int64_t ns) const;
  // And back; never negative.
  int64_t Nanoseconds(uint64_t cycles) const;

 private:
  static constexpr int64_t kStubSpinNs = 30'000, kStubSpinHandOffs = 10;
  static constexpr int64_t kCalmNs = 1'000'000;
  static constexpr int64_t kFirstHandOffNs = 20'000, kLeastHandOffNs = 2'000, kMostHandOffNs = 40'000;

  double CyclesPerNs() const;
  // An estimate, some time old: looking at all threads costs.
  int Asleep() EXCLUDES(mu_);

  Mutex mu_{LockRank::kLeaf};
  std::unordered_multiset<const uint32_t*> threads_ GUARDED_BY(mu_);
  std::atomic<int> asleep_{0};
  std::atomic<int64_t> count_again_ns_{0};
  std::atomic<int> running_{0};
  std::atomic<int> watching_{0};
  std::atomic<int64_t> unblocked_ns_{0};
  std::atomic<int64_t> hand_off_ns_{kFirstHandOffNs};
  int processors_ = 1;
  // For Cycles: both clocks at one moment, and what a later one told; 0 while none did.
  mutable std::atomic<double> cycles_per_ns_{0};
  int64_t start_ns_;
  uint64_t start_cycles_;
};

}  // namespace sandbox::platform::systrap
