/* The vDSO that guests run (vdso(7)): clocks read from a page that the sentry keeps (abi/clock_page.h), with the system
 * call as the way out whenever the page is too old. Freestanding C, linked by vdso_image.lds. No state of its own.
 */
#include "abi/clock_page.h"

extern const volatile struct ClockPage params_page __attribute__((visibility("hidden")));

struct timespec {
  int64_t seconds, nanoseconds;
};
struct timeval {
  int64_t seconds, microseconds;
};

enum { kSysGettimeofday = 96, kSysTime = 201, kSysClockGettime = 228, kSysClockGetres = 229, kSysGetcpu = 309 };

static inline long Call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

int __vdso_clock_gettime(int clock, struct timespec* out) {
  const uint64_t ns = ReadClockPage(&params_page, clock);
  if (ns == 0) return (int)Call(kSysClockGettime, clock, (long)out, 0);
  out->seconds = (int64_t)(ns / 1000000000u);
  out->nanoseconds = (int64_t)(ns % 1000000000u);
  return 0;
}

int __vdso_gettimeofday(struct timeval* out, void* zone) {
  const uint64_t ns = zone == 0 && out != 0 ? ReadClockPage(&params_page, kClockRealtime) : 0;
  if (ns == 0) return (int)Call(kSysGettimeofday, (long)out, (long)zone, 0);
  out->seconds = (int64_t)(ns / 1000000000u);
  out->microseconds = (int64_t)(ns % 1000000000u / 1000u);
  return 0;
}

int64_t __vdso_time(int64_t* out) {
  const uint64_t ns = ReadClockPage(&params_page, kClockRealtime);
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
