// nanosleep(2), clock_nanosleep(2), setitimer(2), alarm(2), timer_create(2), clocks.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "tests/util/sleeping.h"

namespace {

std::atomic<int> fired;
constexpr timespec kZero = {};

int64_t NowMs() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1000 + ts.tv_nsec / 1'000'000;
}

class AlarmHandler {
 public:
  AlarmHandler(int signo, int flags = 0) : signo_(signo) {
    struct sigaction action = {};
    action.sa_handler = [](int) { ++fired; };
    action.sa_flags = flags;
    sigaction(signo, &action, &old_);
    fired = 0;
  }
  ~AlarmHandler() { sigaction(signo_, &old_, nullptr); }

 private:
  const int signo_;
  struct sigaction old_;
};

TEST(SleepTest, SleepsLongEnough) {
  const int64_t start = NowMs();
  const timespec ts = {0, 30'000'000};
  EXPECT_EQ(nanosleep(&ts, nullptr), 0);
  EXPECT_GE(NowMs() - start, 29);
}

TEST(SleepTest, Errors) {
  const timespec bad = {0, 1'000'000'000};
  EXPECT_EQ(nanosleep(&bad, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_nanosleep, 8, nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
  const timespec ok = {0, 1};
  EXPECT_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ok, nullptr), EINVAL);
  EXPECT_EQ(clock_nanosleep(1000, 0, &ok, nullptr), EINVAL);
}

TEST(SleepTest, InterruptedSleepReportsTheRest) {
  AlarmHandler handler(SIGALRM);
  guest::WhenAsleepIn later(SYS_nanosleep, [] { kill(getpid(), SIGALRM); });
  const timespec ts = {1000, 0};
  timespec rest = {};
  EXPECT_EQ(syscall(SYS_nanosleep, &ts, &rest), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_LT(rest.tv_sec, 1000);
  EXPECT_GT(rest.tv_sec, 900);
  EXPECT_EQ(fired, 1);
}

TEST(SleepTest, StopDoesNotEndASleep) {
  const pid_t pid = fork();
  if (pid == 0) {
    const int64_t start = NowMs();
    const timespec ts = {1, 0};
    const long r = syscall(SYS_nanosleep, &ts, nullptr);
    _exit(r == 0 && NowMs() - start >= 999 ? 0 : 1);
  }
  guest::AwaitSleepIn(pid, SYS_nanosleep);
  kill(pid, SIGSTOP);
  int status;
  EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
  EXPECT_TRUE(WIFSTOPPED(status));
  kill(pid, SIGCONT);
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST(SleepTest, AbsoluteTimeInThePast) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  EXPECT_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &now, nullptr), 0);
}

TEST(ItimerTest, RepeatsAndReads) {
  AlarmHandler handler(SIGALRM, SA_RESTART);
  const itimerval repeat = {{0, 10'000}, {0, 10'000}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &repeat, nullptr), 0);
  itimerval now;
  EXPECT_EQ(getitimer(ITIMER_REAL, &now), 0);
  EXPECT_EQ(now.it_interval.tv_usec, 10'000);
  EXPECT_GT(now.it_value.tv_usec, 0);
  while (fired < 3) pause();
  const itimerval off = {};
  EXPECT_EQ(setitimer(ITIMER_REAL, &off, nullptr), 0);
  EXPECT_EQ(setitimer(7, &off, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(ItimerTest, VirtualTimeCountsOnlyWork) {
  AlarmHandler handler(SIGVTALRM);
  const itimerval soon = {{}, {0, 30'000}};
  ASSERT_EQ(setitimer(ITIMER_VIRTUAL, &soon, nullptr), 0);
  usleep(100'000);
  EXPECT_EQ(fired, 0);
  while (fired == 0) {
  }
  EXPECT_EQ(fired, 1);
}

TEST(AlarmTest, ReturnsTheRest) {
  EXPECT_EQ(alarm(10), 0u);
  EXPECT_EQ(alarm(0), 10u);
}

TEST(PosixTimerTest, SignalCarriesTheValue) {
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, &old);
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  event.sigev_value.sival_int = 77;
  timer_t timer;
  ASSERT_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  const itimerspec often = {{0, 5'000'000}, {0, 5'000'000}};
  ASSERT_EQ(timer_settime(timer, 0, &often, nullptr), 0);
  usleep(60'000);
  siginfo_t info = {};
  const timespec second = {1, 0};
  EXPECT_EQ(sigtimedwait(&set, &info, &second), SIGRTMIN);
  EXPECT_EQ(info.si_code, SI_TIMER);
  EXPECT_EQ(info.si_value.sival_int, 77);
  EXPECT_GE(info.si_overrun, 3);
  EXPECT_GE(timer_getoverrun(timer), 3);
  itimerspec now;
  EXPECT_EQ(timer_gettime(timer, &now), 0);
  EXPECT_EQ(now.it_interval.tv_nsec, 5'000'000);
  EXPECT_EQ(timer_delete(timer), 0);
  EXPECT_EQ(syscall(SYS_timer_delete, 99999), -1);
  EXPECT_EQ(errno, EINVAL);
  while (sigtimedwait(&set, &info, &kZero) > 0) {
  }
  sigprocmask(SIG_SETMASK, &old, nullptr);
}

TEST(ClockTest, EveryClockReads) {
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                                CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME}) {
    timespec ts = {-1, -1};
    EXPECT_EQ(syscall(SYS_clock_gettime, clock, &ts), 0) << clock;
    EXPECT_GE(ts.tv_sec, 0);
    EXPECT_EQ(syscall(SYS_clock_getres, clock, &ts), 0) << clock;
  }
  EXPECT_EQ(syscall(SYS_clock_gettime, 99, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_clock_gettime, CLOCK_REALTIME, 8), -1);
  EXPECT_EQ(errno, EFAULT);
}

TEST(ClockTest, CpuTimeAdvancesWithWork) {
  const clock_t end = clock() + CLOCKS_PER_SEC / 50;
  while (clock() < end) {
  }
  tms t;
  EXPECT_GT(times(&t), 0);
}

}  // namespace
