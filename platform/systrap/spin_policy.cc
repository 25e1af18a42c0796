#include "platform/systrap/spin_policy.h"

#include <sched.h>

#include <algorithm>
#include <ctime>

#include "platform/arch/cycle_counter.h"

namespace sandbox::platform::systrap {

int64_t MonotonicNs() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

SpinPolicy::SpinPolicy() : start_ns_(MonotonicNs()), start_cycles_(arch::CycleCounter()) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) processors_ = CPU_COUNT(&allowed);
}

void SpinPolicy::AddThread(const uint32_t* asleep) {
  MutexLock lock(mu_);
  threads_.insert(asleep);
}

void SpinPolicy::RemoveThread(const uint32_t* asleep) {
  MutexLock lock(mu_);
  threads_.erase(threads_.find(asleep));
}

int SpinPolicy::Asleep() {
  // A count is good for as long as twenty of its kind take, at least 50 microseconds.
  const int64_t start = MonotonicNs();
  int64_t due = count_again_ns_.load(std::memory_order_relaxed);
  if (start < due || !count_again_ns_.compare_exchange_strong(due, start + 50'000, std::memory_order_relaxed)) {
    return asleep_.load(std::memory_order_relaxed);
  }
  MutexLock lock(mu_);
  int count = 0;
  for (const uint32_t* word : threads_) count += __atomic_load_n(word, __ATOMIC_RELAXED) != 0;
  asleep_.store(count, std::memory_order_relaxed);
  const int64_t cost = MonotonicNs() - start;
  count_again_ns_.store(start + std::max<int64_t>(50'000, 20 * cost), std::memory_order_relaxed);
  return count;
}

// Lost updates of other threads do not matter.
void SpinPolicy::NoteHandOff(int64_t ns) {
  const int64_t before = hand_off_ns_.load(std::memory_order_relaxed);
  const int64_t after = ns < before ? before - before / 16 : before + before / 32;
  hand_off_ns_.store(std::clamp(after, kLeastHandOffNs, kMostHandOffNs), std::memory_order_relaxed);
}

double SpinPolicy::CyclesPerNs() const {
  double rate = cycles_per_ns_.load(std::memory_order_relaxed);
  if (rate == 0) {
    const int64_t elapsed_ns = MonotonicNs() - start_ns_;
    const uint64_t elapsed_cycles = arch::CycleCounter() - start_cycles_;
    // Too early to tell: one tick a nanosecond, which errs on the short side.
    rate = elapsed_ns < 1'000'000 ? 1.0 : static_cast<double>(elapsed_cycles) / elapsed_ns;
    if (elapsed_ns >= 100'000'000) cycles_per_ns_.store(rate, std::memory_order_relaxed);
  }
  return rate;
}

uint32_t SpinPolicy::Cycles(int64_t ns) const {
  return static_cast<uint32_t>(std::clamp(CyclesPerNs() * ns, 0.0, 1e9));
}

int64_t SpinPolicy::Nanoseconds(uint64_t cycles) const {
  return static_cast<int64_t>(std::clamp(cycles / CyclesPerNs(), 0.0, 9e18));
}

}  // namespace sandbox::platform::systrap
