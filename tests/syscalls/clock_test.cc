// clock_gettime(2) by the vDSO and by the call, coarse clocks; clock_adjtime(2), syslog(2).
#include <sys/klog.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

long long Ns(const timespec& ts) { return ts.tv_sec * 1'000'000'000LL + ts.tv_nsec; }

TEST(ClockTest, CoarseClocksNeverStepBack) {
  for (const clockid_t clock : {CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE}) {
    long long last = 0;
    for (int i = 0; i < 2000; ++i) {
      timespec ts;
      ASSERT_OK(clock_gettime(clock, &ts));
      EXPECT_GE(Ns(ts), last);
      last = Ns(ts);
      ASSERT_OK(syscall(SYS_clock_gettime, clock, &ts));
      EXPECT_GE(Ns(ts), last);
      last = Ns(ts);
    }
  }
}

TEST(ClockTest, AdjtimeErrors) {
  timex tx = {};
  EXPECT_ERRNO(EOPNOTSUPP, clock_adjtime(-1, &tx));
  EXPECT_ERRNO(EOPNOTSUPP, clock_adjtime(CLOCK_MONOTONIC, &tx));
  EXPECT_ERRNO(EINVAL, clock_adjtime(12, &tx));
  tx.modes = 0x8000;  // a single shot of nothing
  EXPECT_ERRNO(EINVAL, clock_adjtime(CLOCK_REALTIME, &tx));
}

TEST(SyslogTest, Arguments) {
  char buffer[16];
  EXPECT_ERRNO(EINVAL, klogctl(100, buffer, sizeof(buffer)));
  EXPECT_ERRNO(EINVAL, klogctl(3, nullptr, sizeof(buffer)));
  EXPECT_ERRNO(EINVAL, klogctl(3, buffer, -1));
  EXPECT_ERRNO(EINVAL, klogctl(8, buffer, 0));
  EXPECT_ERRNO(EINVAL, klogctl(8, buffer, 9));
  EXPECT_OK(klogctl(0, nullptr, 0));
  EXPECT_GT(klogctl(10, nullptr, 0), 0);
  EXPECT_GE(klogctl(3, buffer, sizeof(buffer)), 0);
}

}  // namespace
}  // namespace guest
