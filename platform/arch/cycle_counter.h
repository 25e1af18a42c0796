// The processor's time stamp counter.
#pragma once

#include <cstdint>

namespace sandbox::arch {

// Ordered after earlier loads, so that a clock read before it is not newer than the counter.
inline uint64_t CycleCounter() {
  __builtin_ia32_lfence();
  return __builtin_ia32_rdtsc();
}

}  // namespace sandbox::arch
