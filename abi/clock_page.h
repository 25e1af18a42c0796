/* The page from which guests' vDSO and the stubs read the time: a base and a rate, good for a short window. The sentry
 * keeps it (sentry/time/vdso_clock.h). In C, because the vDSO is.
 *
 * Everything here is inlined: it runs in code that can call nothing.
 */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
namespace sandbox::abi {
#endif

struct ClockPage {
  uint32_t sequence; /* odd while it changes */
  uint32_t unused;
  uint64_t base_counter;
  uint64_t window;       /* counts from the base for which the page may be used; 0 = never */
  uint64_t ns_per_count; /* 32.32 fixed point */
  uint64_t monotonic_ns, realtime_ns, boottime_ns;
};

enum {
  kClockRealtime = 0,
  kClockMonotonic = 1,
  kClockRealtimeCoarse = 5,
  kClockMonotonicCoarse = 6,
  kClockBoottime = 7
};

#define CLOCK_PAGE_INLINE static inline __attribute__((always_inline, unused))

/* The counter must not be read ahead of the sequence number, hence the fence (Linux: rdtsc_ordered). */
CLOCK_PAGE_INLINE uint64_t ClockPageCounter(void) {
  uint32_t low, high;
  __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t)high << 32 | low;
}

/* Nanoseconds on a clock whose base is one of the page's; 0 when the system call must answer. */
CLOCK_PAGE_INLINE uint64_t ReadClockPageBase(const volatile struct ClockPage* page, const volatile uint64_t* base_ns) {
  for (int tries = 0; tries < 1000; ++tries) {
    const uint32_t sequence = __atomic_load_n(&page->sequence, __ATOMIC_ACQUIRE);
    if (sequence & 1) {
      __builtin_ia32_pause();
      continue;
    }
    const uint64_t passed = ClockPageCounter() - page->base_counter;
    const uint64_t window = page->window, rate = page->ns_per_count, base = *base_ns;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&page->sequence, __ATOMIC_RELAXED) != sequence) continue;
    if (passed >= window) return 0;
    return base + (uint64_t)(((unsigned __int128)passed * rate) >> 32);
  }
  return 0; /* the sentry stopped in the middle of an update */
}

/* The same for a clockid_t. */
CLOCK_PAGE_INLINE uint64_t ReadClockPage(const volatile struct ClockPage* page, int clock) {
  switch (clock) {
    case kClockRealtime:
    case kClockRealtimeCoarse:
      return ReadClockPageBase(page, &page->realtime_ns);
    case kClockMonotonic:
    case kClockMonotonicCoarse:
      return ReadClockPageBase(page, &page->monotonic_ns);
    case kClockBoottime:
      return ReadClockPageBase(page, &page->boottime_ns);
    default:
      return 0;
  }
}

#ifdef __cplusplus
}  // namespace sandbox::abi
#endif
