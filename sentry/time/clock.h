// The clocks a guest can read without a CPU attached to them (clock_gettime(2)); CPU clocks are the kernel's. Guests
// see the host's clocks unshifted, because the vDSO reads them without a trap.
#pragma once

#include <ctime>

#include "base/result.h"
#include "sentry/core/context.h"

namespace sandbox {

// EINVAL for clocks that are not system-wide (CPU clocks included).
Result<int64_t> ReadClockNs(clockid_t clock);
Result<int64_t> ClockResolutionNs(clockid_t clock);

// The monotonic deadline at which `clock` (CLOCK_REALTIME, MONOTONIC, BOOTTIME, TAI) will show `ns`. A later step of
// the realtime clock is not followed.
Result<MonotonicTime> DeadlineOn(clockid_t clock, int64_t ns);

// Saturating conversions; `ts` was validated.
int64_t ToNs(const timespec& ts);
timespec ToTimespec(int64_t ns);
// Linux's timespec64_valid: non-negative seconds, nanoseconds below 1e9.
bool ValidTimespec(const timespec& ts);
MonotonicTime DeadlineAfter(int64_t ns);  // saturating

}  // namespace sandbox
