#include "sentry/time/clock.h"

#include <limits>

#include "sentry/time/vdso_clock.h"

namespace sandbox {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kMaxNs = std::numeric_limits<int64_t>::max();

bool SystemWide(clockid_t clock) {
  switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
    case CLOCK_TAI:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<int64_t> ReadClockNs(clockid_t clock) {
  if (!SystemWide(clock)) return Err(EINVAL);
  if (const auto shown = VdsoClock::Get().Read(clock)) return *shown;
  // The vDSO's coarse clocks are as fine as the others, so this must not step back behind them.
  if (clock == CLOCK_REALTIME_COARSE) clock = CLOCK_REALTIME;
  if (clock == CLOCK_MONOTONIC_COARSE) clock = CLOCK_MONOTONIC;
  timespec ts;
  if (clock_gettime(clock, &ts) != 0) return LastErrno();
  return ToNs(ts);
}

Result<int64_t> ClockResolutionNs(clockid_t clock) {
  if (!SystemWide(clock)) return Err(EINVAL);
  timespec ts;
  if (clock_getres(clock, &ts) != 0) return LastErrno();
  return ToNs(ts);
}

Result<MonotonicTime> DeadlineOn(clockid_t clock, int64_t ns) {
  if (clock == CLOCK_MONOTONIC) return MonotonicTime{ns};
  const int64_t ahead = ns - TRY(ReadClockNs(clock));
  return ahead <= 0 ? MonotonicTime{0} : DeadlineAfter(ahead);
}

int64_t ToNs(const timespec& ts) {
  int64_t ns;
  if (__builtin_mul_overflow(int64_t{ts.tv_sec}, kNsPerSecond, &ns)) return kMaxNs;
  if (__builtin_add_overflow(ns, int64_t{ts.tv_nsec}, &ns)) return kMaxNs;
  return ns;
}

timespec ToTimespec(int64_t ns) { return {ns / kNsPerSecond, ns % kNsPerSecond}; }

bool ValidTimespec(const timespec& ts) { return ts.tv_sec >= 0 && ts.tv_nsec >= 0 && ts.tv_nsec < kNsPerSecond; }

MonotonicTime DeadlineAfter(int64_t ns) {
  int64_t at;
  if (__builtin_add_overflow(MonotonicNow().ns, ns, &at)) at = kMaxNs;
  return MonotonicTime{at};
}

}  // namespace sandbox
