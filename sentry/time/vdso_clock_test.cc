#include "sentry/time/vdso_clock.h"

#include <gtest/gtest.h>

namespace sandbox {
namespace {

using Sample = VdsoClock::Sample;

// A machine whose counter runs at 3 GHz and whose host clock reads with an error of `noise`.
Sample At(int64_t ns, int64_t noise = 0) {
  return {.counter = static_cast<uint64_t>(ns) * 3,
          .monotonic_ns = ns + noise,
          .realtime_ns = ns + noise + 1'000'000'000'000,
          .boottime_ns = ns + noise + 500};
}

int64_t Read(const VdsoParams& page, int64_t at_ns) {
  const uint64_t passed = static_cast<uint64_t>(at_ns) * 3 - page.base_counter;
  return static_cast<int64_t>(
      page.monotonic_ns + static_cast<uint64_t>((static_cast<unsigned __int128>(passed) * page.ns_per_count) >> 32));
}

constexpr int64_t kMs = 1'000'000;

TEST(VdsoClockTest, NotUsedBeforeTheRateIsKnown) {
  EXPECT_EQ(VdsoClock::Next({}, At(1000 * kMs), At(1001 * kMs)).window, 0u);
  EXPECT_EQ(VdsoClock::Next({}, At(1000 * kMs), At(1000 * kMs)).window, 0u);
}

TEST(VdsoClockTest, FollowsTheHostWithinTheWindow) {
  const VdsoParams page = VdsoClock::Next({}, At(1000 * kMs, 30), At(1010 * kMs, -30));
  ASSERT_NE(page.window, 0u);
  EXPECT_NEAR(static_cast<double>(page.window) / 3, 20.0 * kMs, 1000) << "twice the span";
  EXPECT_NEAR(Read(page, 1030 * kMs), 1030 * kMs, 200);
  EXPECT_EQ(page.realtime_ns - page.monotonic_ns, 1'000'000'000'000u);
  EXPECT_EQ(page.boottime_ns - page.monotonic_ns, 500u);
}

TEST(VdsoClockTest, RenewalNeverStepsAndConverges) {
  VdsoParams page = VdsoClock::Next({}, At(0), At(10 * kMs, 400));
  int64_t last = 0, now = 10 * kMs;
  for (int i = 1; i < 60; ++i) {
    const int64_t noise = i % 2 == 0 ? 300 : -300;
    for (int64_t step = 0; step < 10; ++step) {
      const int64_t value = Read(page, now + step);
      EXPECT_GE(value, last);
      last = value;
    }
    now += 20 * kMs;
    page = VdsoClock::Next(page, At(0), At(now, noise));
    EXPECT_GE(Read(page, now) + 1, last);
    EXPECT_NEAR(Read(page, now), now, 1500);
  }
}

TEST(VdsoClockTest, AStepOfTheHostIsTaken) {
  const VdsoParams page = VdsoClock::Next({}, At(0), At(100 * kMs));
  Sample later = At(200 * kMs);
  later.realtime_ns += 3'600'000'000'000;
  EXPECT_NEAR(static_cast<double>(VdsoClock::Next(page, At(0), later).realtime_ns),
              static_cast<double>(later.realtime_ns), 1000);
}

}  // namespace
}  // namespace sandbox
