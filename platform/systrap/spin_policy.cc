#include "platform/systrap/spin_policy.h"

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
  CPU_ZERO(&allowed_);
  if (::sched_getaffinity(0, sizeof(allowed_), &allowed_) == 0) processors_ = CPU_COUNT(&allowed_);
}

void SpinPolicy::LeaveProcessor() const {
  const int here = ::sched_getcpu();
  cpu_set_t others = allowed_;
  if (here < 0 || here >= CPU_SETSIZE || !CPU_ISSET(here, &others)) return;
  CPU_CLR(here, &others);
  // Refused only when the processors were taken from us meanwhile; then the scheduler sorts it out.
  if (::sched_setaffinity(0, sizeof(others), &others) == 0) (void)::sched_setaffinity(0, sizeof(allowed_), &allowed_);
}

uint32_t SpinPolicy::Cycles(int64_t ns) const {
  double rate = cycles_per_ns_.load(std::memory_order_relaxed);
  if (rate == 0) {
    const int64_t elapsed_ns = MonotonicNs() - start_ns_;
    const uint64_t elapsed_cycles = arch::CycleCounter() - start_cycles_;
    // Too early to tell: one tick a nanosecond, which errs on the short side.
    rate = elapsed_ns < 1'000'000 ? 1.0 : static_cast<double>(elapsed_cycles) / elapsed_ns;
    if (elapsed_ns >= 100'000'000) cycles_per_ns_.store(rate, std::memory_order_relaxed);
  }
  return static_cast<uint32_t>(std::clamp(rate * ns, 0.0, 1e9));
}

}  // namespace sandbox::platform::systrap
