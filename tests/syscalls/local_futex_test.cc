// Private futexes that a kernel may serve without entering it, from call sites worth serving that way.
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/hot_calls.h"
#include "tests/util/sleeping.h"

namespace {

using guest::Action;
using guest::CountOne;
using guest::handled;

long Futex(const void* addr, int op, uint32_t value, const timespec* timeout = nullptr, const void* addr2 = nullptr,
           uint32_t value3 = 0) {
  return syscall(SYS_futex, addr, op, value, timeout, addr2, value3);
}

TEST(LocalFutexTest, PingPong) {
  std::atomic<uint32_t> word{0};
  std::thread other([&] {
    for (int i = 0; i < 5000; ++i) {
      while (word != 1) Futex(&word, FUTEX_WAIT_PRIVATE, 0);
      word = 0;
      Futex(&word, FUTEX_WAKE_PRIVATE, 1);
    }
  });
  for (int i = 0; i < 5000; ++i) {
    word = 1;
    Futex(&word, FUTEX_WAKE_PRIVATE, 1);
    while (word != 0) Futex(&word, FUTEX_WAIT_PRIVATE, 1);
  }
  other.join();
}

TEST(LocalFutexTest, HandlerEndsOrRestartsTheWait) {
  for (const bool restart : {false, true}) {
    const Action action(SIGUSR1, CountOne, restart ? SA_RESTART : 0);
    std::atomic<uint32_t> word{0};
    handled = 0;
    const pid_t self = static_cast<pid_t>(syscall(SYS_gettid));
    guest::WhenAsleepIn late(SYS_futex, [&] {
      syscall(SYS_tgkill, getpid(), self, SIGUSR1);
      if (!restart) return;
      while (handled == 0) sched_yield();
      guest::AwaitSleepIn(self, SYS_futex);
      word = 1;
      Futex(&word, FUTEX_WAKE_PRIVATE, 1);
    });
    if (restart) {
      EXPECT_OK(Futex(&word, FUTEX_WAIT_PRIVATE, 0));
    } else {
      EXPECT_ERRNO(EINTR, Futex(&word, FUTEX_WAIT_PRIVATE, 0));
    }
    EXPECT_EQ(handled, 1);
  }
}

TEST(LocalFutexTest, TimedWaitNeverRunsAgainAfterAHandler) {
  const Action action(SIGUSR1, CountOne, SA_RESTART);
  const pid_t self = static_cast<pid_t>(syscall(SYS_gettid));
  std::atomic<uint32_t> word{0};
  const timespec long_time = {600, 0};
  guest::WhenAsleepIn late(SYS_futex, [&] { syscall(SYS_tgkill, getpid(), self, SIGUSR1); });
  EXPECT_ERRNO(EINTR, Futex(&word, FUTEX_WAIT_PRIVATE, 0, &long_time));
}

// A stop in the middle neither ends the wait nor makes it longer.
TEST(LocalFutexTest, StopKeepsTheDeadline) {
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 20'000; ++i) syscall(SYS_getppid);
    std::atomic<uint32_t> word{0};
    timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    const timespec time = {0, 300'000'000};
    const long result = Futex(&word, FUTEX_WAIT_PRIVATE, 0, &time);
    const bool timed_out = result == -1 && errno == ETIMEDOUT;
    clock_gettime(CLOCK_MONOTONIC, &after);
    const int64_t ns = (after.tv_sec - before.tv_sec) * 1'000'000'000 + after.tv_nsec - before.tv_nsec;
    _exit(!timed_out ? 1 : ns < 299'000'000 ? 2 : 0);
  }
  guest::AwaitSleepIn(child, SYS_futex);
  kill(child, SIGSTOP);
  guest::AwaitState(child, "T");
  kill(child, SIGCONT);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(LocalFutexTest, WaitersDieWithTheirProcess) {
  EXPECT_EQ(guest::RunInChild([] {
              static std::atomic<uint32_t> word{0};
              guest::Helper one([] { Futex(&word, FUTEX_WAIT_PRIVATE, 0); });
              guest::Helper two([] { Futex(&word, FUTEX_WAIT_PRIVATE, 0); });
              one.AwaitSleepIn(SYS_futex);
              two.AwaitSleepIn(SYS_futex);
              _exit(5);
              return 0;
            }),
            5);
  EXPECT_EQ(guest::RunInChild([] {
              static std::atomic<uint32_t> word{0};
              guest::Helper one([] { Futex(&word, FUTEX_WAIT_PRIVATE, 0); });
              one.AwaitSleepIn(SYS_futex);
              close(1);
              execl("/proc/self/exe", "self", "--gtest_list_tests", nullptr);
              return 1;
            }),
            0);
}

// From another site of the program, cold or not: all meet in one queue.
TEST(LocalFutexTest, OneQueueForAllCallSites) {
  std::atomic<uint32_t> word{0};
  const auto wake_elsewhere = [&] {
    long result = SYS_futex;
    asm volatile("nop\n syscall\n nop\n nop"
                 : "+a"(result)
                 : "D"(&word), "S"(FUTEX_WAKE_PRIVATE), "d"(10)
                 : "rcx", "r11", "memory");
    return result;
  };
  guest::Helper one([&] { EXPECT_OK(Futex(&word, FUTEX_WAIT_PRIVATE, 0)); });
  guest::Helper two([&] {
    register long r10 asm("r10") = 0;
    long result = SYS_futex;
    asm volatile("nop\n syscall\n nop\n nop"
                 : "+a"(result)
                 : "D"(&word), "S"(FUTEX_WAIT_PRIVATE), "d"(0), "r"(r10)
                 : "rcx", "r11", "memory");
    EXPECT_EQ(result, 0);
  });
  guest::AwaitFutexWaiters(&word, 2);
  EXPECT_EQ(wake_elsewhere(), 2);
}

// Requeued waiters stay where their wakers look.
TEST(LocalFutexTest, RequeueMovesWaiters) {
  std::atomic<uint32_t> from{0}, to{0};
  guest::Helper one([&] { EXPECT_OK(Futex(&from, FUTEX_WAIT_PRIVATE, 0)); });
  guest::Helper two([&] { EXPECT_OK(Futex(&from, FUTEX_WAIT_PRIVATE, 0)); });
  guest::AwaitFutexWaiters(&from, 2);
  EXPECT_EQ(syscall(SYS_futex, &from, FUTEX_CMP_REQUEUE_PRIVATE, 1, 1, &to, 0), 2);
  EXPECT_EQ(Futex(&from, FUTEX_WAKE_PRIVATE, 10), 0);
  EXPECT_EQ(Futex(&to, FUTEX_WAKE_PRIVATE, 10), 1);
}

}  // namespace
