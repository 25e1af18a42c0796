// clock_gettime(2), clock_getres(2), clock_settime(2), gettimeofday(2), adjtimex(2), CPU clocks of others, times(2),
// getrusage(2), and the errors of sleeping. The raw calls: the C library answers some of these itself.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <climits>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

constexpr long kNsPerSecond = 1'000'000'000;

int64_t Read(clockid_t clock) {
  timespec ts = {-1, -1};
  EXPECT_OK(syscall(SYS_clock_gettime, clock, &ts)) << clock;
  return ts.tv_sec * kNsPerSecond + ts.tv_nsec;
}
void Work(int64_t ns) {
  const int64_t end = Read(CLOCK_THREAD_CPUTIME_ID) + ns;
  while (Read(CLOCK_THREAD_CPUTIME_ID) < end) {
  }
}
// The clock of a process or thread (Linux: make_process_cpuclock).
constexpr clockid_t CpuClock(pid_t pid, bool thread, int which) { return (~pid << 3) | (thread ? 4 : 0) | which; }

TEST(ClockTest, ClocksAgree) {
  const int64_t real = Read(CLOCK_REALTIME), mono = Read(CLOCK_MONOTONIC);
  EXPECT_GE(Read(CLOCK_REALTIME), real);
  EXPECT_GE(Read(CLOCK_MONOTONIC), mono);
  EXPECT_LE(std::abs(Read(CLOCK_REALTIME_COARSE) - Read(CLOCK_REALTIME)), kNsPerSecond);
  EXPECT_LE(std::abs(Read(CLOCK_MONOTONIC_COARSE) - Read(CLOCK_MONOTONIC)), kNsPerSecond);
  EXPECT_GE(Read(CLOCK_BOOTTIME) - Read(CLOCK_MONOTONIC), -kNsPerSecond);
  EXPECT_LE(std::abs(Read(CLOCK_TAI) - Read(CLOCK_REALTIME)), 60 * kNsPerSecond);
  timeval tv;
  EXPECT_OK(syscall(SYS_gettimeofday, &tv, nullptr));
  EXPECT_LE(std::abs(tv.tv_sec - Read(CLOCK_REALTIME) / kNsPerSecond), 1);
  time_t seconds = 0;
  EXPECT_EQ(syscall(SYS_time, &seconds), seconds);
  EXPECT_LE(std::abs(seconds - tv.tv_sec), 1);
  // The vDSO's answers lie between the kernel's.
  timespec ts;
  const int64_t before = Read(CLOCK_MONOTONIC);
  clock_gettime(CLOCK_MONOTONIC, &ts);
  const int64_t between = ts.tv_sec * kNsPerSecond + ts.tv_nsec;
  EXPECT_GE(between, before);
  EXPECT_LE(between, Read(CLOCK_MONOTONIC));
}

TEST(ClockTest, Errors) {
  timespec ts = {};
  for (const long clock : {99L, -99L, 16L, long{INT_MAX}}) {
    EXPECT_ERRNO(EINVAL, syscall(SYS_clock_gettime, clock, &ts)) << clock;
    EXPECT_ERRNO(EINVAL, syscall(SYS_clock_getres, clock, &ts)) << clock;
  }
  for (const long clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID}) {
    EXPECT_ERRNO(EFAULT, syscall(SYS_clock_gettime, clock, BadPointer())) << clock;
    EXPECT_ERRNO(EFAULT, syscall(SYS_clock_getres, clock, BadPointer())) << clock;
    EXPECT_OK(syscall(SYS_clock_getres, clock, nullptr)) << clock;
  }
  EXPECT_OK(syscall(SYS_clock_getres, CLOCK_MONOTONIC, &ts));
  EXPECT_EQ(ts.tv_sec, 0);
  EXPECT_EQ(ts.tv_nsec, 1);
  EXPECT_OK(syscall(SYS_clock_getres, CLOCK_MONOTONIC_COARSE, &ts));
  EXPECT_GE(ts.tv_nsec, 1'000'000);
  EXPECT_ERRNO(EFAULT, syscall(SYS_gettimeofday, BadPointer(), nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_gettimeofday, nullptr, BadPointer()));
  EXPECT_ERRNO(EFAULT, syscall(SYS_time, BadPointer()));
  EXPECT_OK(syscall(SYS_gettimeofday, nullptr, nullptr));
}

// As nobody, so that no clock is really set.
TEST(ClockTest, SettingNeedsPrivilege) {
  EXPECT_EQ(RunAsNobody([] {
              timespec ts = {1, 0};
              EXPECT_ERRNO(EPERM, syscall(SYS_clock_settime, CLOCK_REALTIME, &ts));
              EXPECT_ERRNO(EINVAL, syscall(SYS_clock_settime, CLOCK_MONOTONIC, &ts));
              EXPECT_ERRNO(EINVAL, syscall(SYS_clock_settime, CLOCK_BOOTTIME, &ts));
              EXPECT_ERRNO(EINVAL, syscall(SYS_clock_settime, 99, &ts));
              EXPECT_ERRNO(EFAULT, syscall(SYS_clock_settime, CLOCK_REALTIME, BadPointer()));
              ts.tv_nsec = kNsPerSecond;
              EXPECT_ERRNO(EINVAL, syscall(SYS_clock_settime, CLOCK_REALTIME, &ts));
              timeval tv = {1, 0};
              EXPECT_ERRNO(EPERM, syscall(SYS_settimeofday, &tv, nullptr));
              tv.tv_usec = 1'000'001;
              EXPECT_ERRNO(EINVAL, syscall(SYS_settimeofday, &tv, nullptr));
              EXPECT_ERRNO(EFAULT, syscall(SYS_settimeofday, BadPointer(), nullptr));
              timex tx = {};
              tx.modes = ADJ_FREQUENCY;
              EXPECT_ERRNO(EPERM, syscall(SYS_adjtimex, &tx));
              tx.modes = 0;
              EXPECT_GE(syscall(SYS_adjtimex, &tx), 0);
              EXPECT_GT(tx.time.tv_sec, 0);
              EXPECT_EQ(tx.tick, 10'000);
              tx.modes = ADJ_OFFSET_SS_READ;
              EXPECT_GE(syscall(SYS_adjtimex, &tx), 0);
              EXPECT_ERRNO(EFAULT, syscall(SYS_adjtimex, BadPointer()));
              EXPECT_ERRNO(EINVAL, syscall(SYS_clock_adjtime, 99, &tx));
              EXPECT_ERRNO(EOPNOTSUPP, syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &tx));
              EXPECT_ERRNO(EFAULT, syscall(SYS_clock_adjtime, 99, BadPointer()));
              return 0;
            }),
            0);
}

TEST(CpuClockTest, OfThisProcessAndItsThreads) {
  const int64_t process = Read(CLOCK_PROCESS_CPUTIME_ID), thread = Read(CLOCK_THREAD_CPUTIME_ID);
  Work(5'000'000);
  EXPECT_GE(Read(CLOCK_PROCESS_CPUTIME_ID), process + 5'000'000);
  EXPECT_GE(Read(CLOCK_THREAD_CPUTIME_ID), thread + 5'000'000);
  EXPECT_GE(Read(CpuClock(getpid(), false, 2)), process + 5'000'000);
  EXPECT_GE(Read(CpuClock(gettid(), true, 2)), thread + 5'000'000);
  EXPECT_GE(Read(CpuClock(0, false, 2)), process);
  EXPECT_GE(Read(CpuClock(0, true, 2)), thread);
}

TEST(CpuClockTest, OfAnotherProcess) {
  const pid_t child = fork();
  if (child == 0) {
    Work(20'000'000);
    for (;;) pause();
  }
  AwaitSleepIn(child, SYS_pause);
  clockid_t clock;
  EXPECT_EQ(clock_getcpuclockid(child, &clock), 0);
  EXPECT_GE(Read(clock), 20'000'000);
  timespec ts;
  EXPECT_ERRNO(EINVAL, syscall(SYS_clock_gettime, CpuClock(child, true, 2), &ts)) << "no thread of this process";
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_ERRNO(EINVAL, syscall(SYS_clock_gettime, clock, &ts));
  EXPECT_ERRNO(EINVAL, syscall(SYS_clock_gettime, CpuClock(0x0fffffff, false, 2), &ts));
}

TEST(SleepTest, ErrorsInOrder) {
  const timespec bad[] = {{0, kNsPerSecond}, {0, -1}, {-1, 0}};
  for (const timespec& ts : bad) {
    EXPECT_ERRNO(EINVAL, syscall(SYS_nanosleep, &ts, nullptr));
    EXPECT_ERRNO(EINVAL, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, nullptr));
    EXPECT_ERRNO(EINVAL, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, nullptr));
  }
  const timespec zero = {};
  EXPECT_ERRNO(EINVAL, syscall(SYS_clock_nanosleep, 99, 0, BadPointer(), nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, BadPointer(), nullptr));
  for (const clockid_t clock :
       {CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_THREAD_CPUTIME_ID}) {
    EXPECT_ERRNO(EOPNOTSUPP, syscall(SYS_clock_nanosleep, clock, 0, &zero, nullptr)) << clock;
  }
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI}) {
    EXPECT_OK(syscall(SYS_clock_nanosleep, clock, 0, &zero, nullptr)) << clock;
    EXPECT_OK(syscall(SYS_clock_nanosleep, clock, TIMER_ABSTIME, &zero, nullptr)) << clock;
  }
}

TEST(SleepTest, AnInterruptedAbsoluteSleepLeavesTheRestAlone) {
  timespec rest = {77, 77}, until = {};
  Interrupter interrupter;
  const int64_t far = Read(CLOCK_MONOTONIC) + 1000 * kNsPerSecond;
  until = {far / kNsPerSecond, 0};
  EXPECT_ERRNO(EINTR, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &rest));
  EXPECT_EQ(rest.tv_sec, 77);
  const timespec relative = {1000, 0};
  EXPECT_ERRNO(EINTR, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &relative, &rest));
  EXPECT_LT(rest.tv_sec, 1000);
  EXPECT_ERRNO(EFAULT, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &relative, BadPointer()));
}

TEST(UsageTest, ChildrenAreAddedWhenWaitedFor) {
  rusage before, after, thread;
  tms ticks_before, ticks;
  EXPECT_OK(getrusage(RUSAGE_CHILDREN, &before));
  EXPECT_GE(times(&ticks_before), 0);
  EXPECT_EQ(RunInChild([] {
              rusage own;
              EXPECT_OK(getrusage(RUSAGE_CHILDREN, &own));
              EXPECT_EQ(own.ru_utime.tv_sec + own.ru_utime.tv_usec, 0) << "a new process has no children's time";
              Work(30'000'000);
              return 0;
            }),
            0);
  EXPECT_OK(getrusage(RUSAGE_CHILDREN, &after));
  EXPECT_GE(times(&ticks), 0);
  const auto us = [](const rusage& r) {
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1'000'000 + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
  };
  EXPECT_GE(us(after) - us(before), 29'000);
  EXPECT_GE(ticks.tms_cutime + ticks.tms_cstime, ticks_before.tms_cutime + ticks_before.tms_cstime + 1);
  EXPECT_OK(getrusage(RUSAGE_THREAD, &thread));
  EXPECT_ERRNO(EINVAL, syscall(SYS_getrusage, 2, &thread));
  EXPECT_ERRNO(EINVAL, syscall(SYS_getrusage, -2, &thread));
  EXPECT_ERRNO(EFAULT, syscall(SYS_getrusage, RUSAGE_SELF, BadPointer()));
  EXPECT_ERRNO(EFAULT, syscall(SYS_times, BadPointer()));
  EXPECT_GT(syscall(SYS_times, nullptr), 0);
}

TEST(ItimerTest, Errors) {
  itimerval value = {}, old = {};
  EXPECT_ERRNO(EINVAL, syscall(SYS_getitimer, 3, &value));
  EXPECT_ERRNO(EINVAL, syscall(SYS_getitimer, -1, &value));
  EXPECT_ERRNO(EFAULT, syscall(SYS_getitimer, ITIMER_REAL, BadPointer()));
  EXPECT_ERRNO(EFAULT, syscall(SYS_setitimer, 3, BadPointer(), nullptr));
  EXPECT_ERRNO(EINVAL, syscall(SYS_setitimer, 3, &value, nullptr));
  value.it_value.tv_usec = 1'000'000;
  EXPECT_ERRNO(EINVAL, syscall(SYS_setitimer, ITIMER_REAL, &value, nullptr));
  value.it_value = {-1, 0};
  EXPECT_ERRNO(EINVAL, syscall(SYS_setitimer, ITIMER_REAL, &value, nullptr));
  value = {{0, 5}, {1000, 0}};
  EXPECT_ERRNO(EFAULT, syscall(SYS_setitimer, ITIMER_REAL, &value, BadPointer()));
  EXPECT_OK(syscall(SYS_getitimer, ITIMER_REAL, &old));
  EXPECT_GT(old.it_value.tv_sec, 900) << "it was set all the same";
  EXPECT_EQ(RunInChild([] {
              itimerval inherited = {};
              return getitimer(ITIMER_REAL, &inherited) == 0 && inherited.it_value.tv_sec == 0 ? 0 : 1;
            }),
            0);
  EXPECT_EQ(alarm(0), 1000u) << "alarm(2) is the same timer";
}

TEST(PosixTimerTest, Errors) {
  int id = -1;
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = 65;
  EXPECT_ERRNO(EINVAL, syscall(SYS_timer_create, CLOCK_REALTIME, &event, &id));
  event.sigev_signo = SIGALRM;
  event.sigev_notify = 77;
  EXPECT_ERRNO(EINVAL, syscall(SYS_timer_create, CLOCK_REALTIME, &event, &id));
  EXPECT_ERRNO(EINVAL, syscall(SYS_timer_create, 99, nullptr, &id));
  EXPECT_ERRNO(EFAULT, syscall(SYS_timer_create, CLOCK_REALTIME, BadPointer(), &id));
  EXPECT_ERRNO(EFAULT, syscall(SYS_timer_create, CLOCK_REALTIME, nullptr, BadPointer()));
  event.sigev_notify = SIGEV_THREAD_ID;
  event._sigev_un._tid = getppid();
  EXPECT_ERRNO(EINVAL, syscall(SYS_timer_create, CLOCK_REALTIME, &event, &id)) << "a thread of another process";
  event.sigev_notify = SIGEV_NONE;
  ASSERT_OK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
  itimerspec value = {}, old = {};
  EXPECT_ERRNO(EINVAL, syscall(SYS_timer_settime, id, 0, nullptr, &old));
  EXPECT_ERRNO(EFAULT, syscall(SYS_timer_settime, id, 0, BadPointer(), &old));
  value.it_value.tv_nsec = kNsPerSecond;
  EXPECT_ERRNO(EINVAL, syscall(SYS_timer_settime, id, 0, &value, &old));
  value = {{0, 1000}, {1000, 0}};
  EXPECT_OK(syscall(SYS_timer_settime, id, 0, &value, &old));
  EXPECT_EQ(old.it_value.tv_sec, 0);
  EXPECT_OK(syscall(SYS_timer_gettime, id, &old));
  EXPECT_GT(old.it_value.tv_sec, 900);
  EXPECT_EQ(old.it_interval.tv_nsec, 1000);
  EXPECT_OK(syscall(SYS_timer_getoverrun, id));
  EXPECT_EQ(RunInChild([&] { return syscall(SYS_timer_gettime, id, &old) == -1 ? errno : 0; }), EINVAL)
      << "not inherited";
  EXPECT_OK(syscall(SYS_timer_delete, id));
  for (const long call : {SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete}) {
    EXPECT_ERRNO(EINVAL, syscall(call, id, &old)) << call;
  }
  EXPECT_ERRNO(EINVAL, syscall(SYS_timer_settime, id, 0, &value, &old));
}

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

// The vDSO and the system calls answer for one clock, at any site and however new its page.
TEST(ClockTest, TimeNeverStepsBackBetweenWaysOfReading) {
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME}) {
    long long last = 0;
    for (int i = 0; i < 5000; ++i) {
      timespec ts;
      ASSERT_OK(clock_gettime(clock, &ts));
      ASSERT_GE(Ns(ts), last) << clock << " round " << i;
      last = Ns(ts);
      ASSERT_OK(syscall(SYS_clock_gettime, clock, &ts));
      ASSERT_GE(Ns(ts), last) << clock << " round " << i;
      last = Ns(ts);
      if (clock != CLOCK_REALTIME) continue;
      timeval tv;
      ASSERT_OK(syscall(SYS_gettimeofday, &tv, nullptr));
      ASSERT_GE(tv.tv_sec * 1'000'000'000LL + tv.tv_usec * 1000 + 999, last) << "round " << i;
    }
  }
}

TEST(ClockErrorTest, ClocksOfTasks) {
  // The calling thread's own clock, as pthread_getcpuclockid(3) names it.
  const clockid_t own_thread = static_cast<clockid_t>(~0u << 3 | 6);
  const timespec zero = {0, 0}, bad = {0, 1'000'000'000};
  EXPECT_ERRNO(EPERM, syscall(SYS_clock_settime, own_thread, &bad));
  EXPECT_ERRNO(EINVAL, syscall(SYS_clock_nanosleep, own_thread, 0, &zero, nullptr));
  const timeval second = {0, 1'000'000};
  EXPECT_ERRNO(EINVAL, syscall(SYS_settimeofday, &second, nullptr));
}

}  // namespace
}  // namespace guest
