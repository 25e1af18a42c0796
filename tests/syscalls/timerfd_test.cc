// timerfd_create(2).
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>

namespace {

constexpr long kMs = 1'000'000;

TEST(TimerfdTest, OneShotFiresOnce) {
  const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  ASSERT_GE(fd, 0);
  const itimerspec setting = {{0, 0}, {0, 20 * kMs}};
  ASSERT_EQ(timerfd_settime(fd, 0, &setting, nullptr), 0);
  uint64_t ticks = 0;
  EXPECT_EQ(read(fd, &ticks, 8), 8);
  EXPECT_EQ(ticks, 1u);
  itimerspec now;
  EXPECT_EQ(timerfd_gettime(fd, &now), 0);
  EXPECT_EQ(now.it_value.tv_sec, 0);
  EXPECT_EQ(now.it_value.tv_nsec, 0);
  close(fd);
}

TEST(TimerfdTest, IntervalsAreCounted) {
  const int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  const itimerspec setting = {{0, 5 * kMs}, {0, 5 * kMs}};
  ASSERT_EQ(timerfd_settime(fd, 0, &setting, nullptr), 0);
  usleep(60000);
  uint64_t ticks = 0;
  EXPECT_EQ(read(fd, &ticks, 8), 8);
  EXPECT_GE(ticks, 10u);
  itimerspec old;
  const itimerspec stop = {};
  EXPECT_EQ(timerfd_settime(fd, 0, &stop, &old), 0);
  EXPECT_EQ(old.it_interval.tv_nsec, 5 * kMs);
  close(fd);
}

TEST(TimerfdTest, AbsoluteTimesInThePastFireAtOnce) {
  const int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  const itimerspec setting = {{0, 0}, {1, 0}};
  ASSERT_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME, &setting, nullptr), 0);
  pollfd request = {fd, POLLIN, 0};
  EXPECT_EQ(poll(&request, 1, 1000), 1);
  uint64_t ticks = 0;
  EXPECT_EQ(read(fd, &ticks, 8), 8);
  EXPECT_EQ(ticks, 1u);
  EXPECT_EQ(read(fd, &ticks, 8), -1);
  EXPECT_EQ(errno, EAGAIN);
  close(fd);
}

TEST(TimerfdTest, ChecksArguments) {
  EXPECT_EQ(timerfd_create(99, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(timerfd_create(CLOCK_MONOTONIC, 1), -1);
  EXPECT_EQ(errno, EINVAL);
  const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  const itimerspec bad = {{0, 0}, {0, 1000 * kMs}};
  EXPECT_EQ(timerfd_settime(fd, 0, &bad, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  const itimerspec good = {{0, 0}, {1, 0}};
  EXPECT_EQ(timerfd_settime(fd, 64, &good, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(timerfd_settime(0, 0, &good, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(timerfd_settime(fd, 0, reinterpret_cast<itimerspec*>(8), nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
  char small[4];
  EXPECT_EQ(read(fd, small, 4), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(write(fd, small, 4), -1);
  EXPECT_EQ(errno, EINVAL);
  close(fd);
}

}  // namespace
