/* The vDSO that guests run (vdso(7)): clocks read from a page that the sentry keeps (sentry/time/vdso_clock.h), with the
 * system call as the way out whenever the page is too old. Freestanding C, linked by vdso_image.lds. No state of its own.
 *
 * The counter must not be read ahead of the sequence number, hence the fences (Linux: rdtsc_ordered).
 */
#include <stdint.h>

/* Layout shared with sentry/time/vdso_clock.h: VdsoParams. */
struct params {
  volatile uint32_t sequence; /* odd while it changes */
  uint32_t unused;
  volatile uint64_t base_counter;
  volatile uint64_t window;   /* counts from the base for which the page may be used; 0 = never */
  volatile uint64_t ns_per_count; /* 32.32 fixed point */
  volatile uint64_t monotonic_ns;
  volatile uint64_t realtime_ns;
  volatile uint64_t boottime_ns;
};
extern const struct params params_page __attribute__((visibility("hidden")));

struct timespec {
  int64_t seconds, nanoseconds;
};
struct timeval {
  int64_t seconds, microseconds;
};

enum { kSysGettimeofday = 96, kSysTime = 201, kSysClockGettime = 228, kSysClockGetres = 229, kSysGetcpu = 309 };
enum { kRealtime = 0, kMonotonic = 1, kRealtimeCoarse = 5, kMonotonicCoarse = 6, kBoottime = 7 };

static inline long Call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

static inline uint64_t Counter(void) {
  uint32_t low, high;
  __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t)high << 32 | low;
}

/* Nanoseconds on a clock of the page; 0 when the system call must answer. */
static inline uint64_t Read(const volatile uint64_t* base_ns) {
  for (int tries = 0; tries < 1000; ++tries) {
    const uint32_t sequence = __atomic_load_n(&params_page.sequence, __ATOMIC_ACQUIRE);
    if (sequence & 1) {
      __builtin_ia32_pause();
      continue;
    }
    const uint64_t passed = Counter() - params_page.base_counter;
    const uint64_t window = params_page.window, rate = params_page.ns_per_count, base = *base_ns;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&params_page.sequence, __ATOMIC_RELAXED) != sequence) continue;
    if (passed >= window) return 0;
    return base + (uint64_t)(((unsigned __int128)passed * rate) >> 32);
  }
  return 0; /* the sentry stopped in the middle of an update */
}

static inline uint64_t ReadClock(int clock) {
  switch (clock) {
    case kRealtime:
    case kRealtimeCoarse: return Read(&params_page.realtime_ns);
    case kMonotonic:
    case kMonotonicCoarse: return Read(&params_page.monotonic_ns);
    case kBoottime: return Read(&params_page.boottime_ns);
    default: return 0;
  }
}

int __vdso_clock_gettime(int clock, struct timespec* out) {
  const uint64_t ns = ReadClock(clock);
  if (ns == 0) return (int)Call(kSysClockGettime, clock, (long)out, 0);
  out->seconds = (int64_t)(ns / 1000000000u);
  out->nanoseconds = (int64_t)(ns % 1000000000u);
  return 0;
}

int __vdso_gettimeofday(struct timeval* out, void* zone) {
  const uint64_t ns = zone == 0 && out != 0 ? ReadClock(kRealtime) : 0;
  if (ns == 0) return (int)Call(kSysGettimeofday, (long)out, (long)zone, 0);
  out->seconds = (int64_t)(ns / 1000000000u);
  out->microseconds = (int64_t)(ns % 1000000000u / 1000u);
  return 0;
}

int64_t __vdso_time(int64_t* out) {
  const uint64_t ns = ReadClock(kRealtime);
  if (ns == 0) return Call(kSysTime, (long)out, 0, 0);
  const int64_t seconds = (int64_t)(ns / 1000000000u);
  if (out != 0) *out = seconds;
  return seconds;
}

int __vdso_clock_getres(int clock, struct timespec* out) { return (int)Call(kSysClockGetres, clock, (long)out, 0); }

/* Processor numbers are the sentry's to give: the hardware knows only the host's. */
long __vdso_getcpu(unsigned* cpu, unsigned* node, void* unused) {
  return Call(kSysGetcpu, (long)cpu, (long)node, (long)unused);
}

#define ALIAS(name) __attribute__((weak, alias("__vdso_" #name)))
int clock_gettime(int, struct timespec*) ALIAS(clock_gettime);
int gettimeofday(struct timeval*, void*) ALIAS(gettimeofday);
int64_t time(int64_t*) ALIAS(time);
int clock_getres(int, struct timespec*) ALIAS(clock_getres);
long getcpu(unsigned*, unsigned*, void*) ALIAS(getcpu);
