// futex_wake(2), futex_wait(2), futex_requeue(2), and FUTEX_WAIT_REQUEUE_PI with FUTEX_CMP_REQUEUE_PI.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>

#include "tests/util/guest.h"
#include "tests/util/memory.h"
#include "tests/util/sleeping.h"

#ifndef __NR_futex_wake
#define __NR_futex_wake 454
#define __NR_futex_wait 455
#define __NR_futex_requeue 456
#endif

namespace guest {
namespace {

constexpr unsigned kSize32 = 2, kPrivate = 128;

long Wake(const void* word, unsigned long mask, int count, unsigned flags = kSize32 | kPrivate) {
  return syscall(__NR_futex_wake, word, mask, count, flags);
}
long Wait(const void* word, unsigned long value, unsigned long mask = ~0u, unsigned flags = kSize32 | kPrivate,
          const timespec* until = nullptr, int clock = CLOCK_MONOTONIC) {
  return syscall(__NR_futex_wait, word, value, mask, flags, until, clock);
}
struct Waiter {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};
long Requeue(Waiter from, Waiter to, int wake, int requeue) {
  Waiter both[2] = {from, to};
  return syscall(__NR_futex_requeue, both, 0, wake, requeue);
}
Waiter At(const void* word, uint64_t value = 0) {
  return {value, reinterpret_cast<uint64_t>(word), kSize32 | kPrivate, 0};
}
timespec In(int ms) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const long ns = now.tv_nsec + ms * 1'000'000l;
  return {now.tv_sec + ns / 1'000'000'000, ns % 1'000'000'000};
}

// A host older than Linux 6.7.
#define REQUIRE_CALLS() \
  if (Wake(&word, 1, 0) != 0 && errno == ENOSYS) GTEST_SKIP() << "no such calls"

TEST(FutexNewerTest, Arguments) {
  int word = 0;
  REQUIRE_CALLS();
  EXPECT_OK(Wake(&word, 1, 5));
  EXPECT_OK(Wake(&word, 1, 0));
  EXPECT_ERRNO(EINVAL, Wake(&word, 0, 1));
  EXPECT_ERRNO(EINVAL, Wake(&word, 1ul << 32, 1));
  EXPECT_ERRNO(EINVAL, Wake(&word, 1, 1, kPrivate)) << "no size";
  EXPECT_ERRNO(EINVAL, Wake(&word, 1, 1, kSize32 | 0x10));
  EXPECT_ERRNO(EINVAL, Wake(reinterpret_cast<char*>(&word) + 1, 1, 1));
  EXPECT_ERRNO(EAGAIN, Wait(&word, 1));
  EXPECT_ERRNO(EINVAL, Wait(&word, 0, 0));
  EXPECT_ERRNO(EINVAL, Wait(&word, 1ul << 32));
  EXPECT_ERRNO(EINVAL, Wait(&word, 0, 1, 0));
  EXPECT_ERRNO(EFAULT, Wait(BadPointer(), 0));
  const timespec bad = {0, 2'000'000'000}, past = {0, 1};
  EXPECT_ERRNO(EINVAL, Wait(&word, 0, ~0u, kSize32, &bad));
  EXPECT_ERRNO(EINVAL, Wait(&word, 0, ~0u, kSize32, &past, CLOCK_BOOTTIME));
  EXPECT_ERRNO(EFAULT, Wait(&word, 0, ~0u, kSize32, static_cast<timespec*>(BadPointer())));
  EXPECT_ERRNO(ETIMEDOUT, Wait(&word, 0, ~0u, kSize32, &past));
  EXPECT_ERRNO(ETIMEDOUT, Wait(&word, 0, ~0u, kSize32, &past, CLOCK_REALTIME));
  EXPECT_ERRNO(EINVAL, syscall(__NR_futex_requeue, nullptr, 0, 1, 1));
  EXPECT_ERRNO(EFAULT, syscall(__NR_futex_requeue, BadPointer(), 0, 1, 1));
  EXPECT_ERRNO(EAGAIN, Requeue(At(&word, 7), At(&word), 1, 1));
  Waiter odd = At(&word);
  odd.reserved = 1;
  EXPECT_ERRNO(EINVAL, Requeue(odd, At(&word), 1, 1));
}

TEST(FutexNewerTest, WaitAndWakeByMask) {
  std::atomic<int> word{0};
  REQUIRE_CALLS();
  long first = -1, second = -1;
  Helper a([&] { first = Wait(&word, 0, 1); });
  Helper b([&] { second = Wait(&word, 0, 2); });
  a.AwaitSleepIn(__NR_futex_wait);
  b.AwaitSleepIn(__NR_futex_wait);
  while (Wake(&word, 2, 8) != 1) {
  }
  b.Join();
  EXPECT_EQ(second, 0);
  while (Wake(&word, 3, 8) != 1) {
  }
  a.Join();
  EXPECT_EQ(first, 0);
}

TEST(FutexNewerTest, OlderCallsReachThem) {
  std::atomic<int> word{0};
  REQUIRE_CALLS();
  long result = -1;
  Helper waiter([&] { result = Wait(&word, 0); });
  waiter.AwaitSleepIn(__NR_futex_wait);
  while (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1) != 1) {
  }
  waiter.Join();
  EXPECT_EQ(result, 0);
}

TEST(FutexNewerTest, Requeue) {
  std::atomic<int> word{0}, other{0};
  REQUIRE_CALLS();
  Waiter shared = At(&other);
  shared.flags = kSize32;
  EXPECT_ERRNO(EINVAL, Requeue(At(&word), shared, 0, 1)) << "both private or both shared";
  long result = -1;
  Helper waiter([&] { result = Wait(&word, 0); });
  waiter.AwaitSleepIn(__NR_futex_wait);
  long moved = 0;
  while (moved == 0) moved = Requeue(At(&word), At(&other), 0, 1);
  ASSERT_EQ(moved, 1);
  EXPECT_EQ(Wake(&word, 1, 1), 0);
  EXPECT_EQ(Wake(&other, 1, 1), 1);
  waiter.Join();
  EXPECT_EQ(result, 0);
}

TEST(FutexNewerTest, ASignalInterrupts) {
  std::atomic<int> word{0};
  REQUIRE_CALLS();
  Interrupter interrupter;
  EXPECT_ERRNO(EINTR, Wait(&word, 0));
}

// --- PI ---

long WaitRequeuePi(std::atomic<uint32_t>* condition, uint32_t value, std::atomic<uint32_t>* lock,
                   const timespec* until = nullptr) {
  return syscall(SYS_futex, condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, value, until, lock, 0);
}
long CmpRequeuePi(std::atomic<uint32_t>* condition, long wake, long requeue, std::atomic<uint32_t>* lock,
                  uint32_t value) {
  return syscall(SYS_futex, condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, wake, requeue, lock, value);
}
long LockPi(std::atomic<uint32_t>* lock) { return syscall(SYS_futex, lock, FUTEX_LOCK_PI_PRIVATE, 0, nullptr); }
long UnlockPi(std::atomic<uint32_t>* lock) { return syscall(SYS_futex, lock, FUTEX_UNLOCK_PI_PRIVATE); }

TEST(FutexRequeuePiTest, Arguments) {
  std::atomic<uint32_t> condition{0}, lock{0};
  const timespec past = {0, 1};
  EXPECT_ERRNO(EINVAL, WaitRequeuePi(&condition, 0, &condition));
  EXPECT_ERRNO(EAGAIN, WaitRequeuePi(&condition, 1, &lock));
  EXPECT_ERRNO(ETIMEDOUT, WaitRequeuePi(&condition, 0, &lock, &past));
  EXPECT_EQ(CmpRequeuePi(&condition, 1, 0, &lock, 0), 0);
  EXPECT_ERRNO(EAGAIN, CmpRequeuePi(&condition, 1, 0, &lock, 1));
  EXPECT_ERRNO(EINVAL, CmpRequeuePi(&condition, 2, 0, &lock, 0));
  EXPECT_ERRNO(EINVAL, CmpRequeuePi(&condition, 1, 0, &condition, 0));
}

TEST(FutexRequeuePiTest, AFreeLockIsGivenToTheFirst) {
  std::atomic<uint32_t> condition{0}, lock{0};
  long result = -1;
  uint32_t owned = 0;
  pid_t id = 0;
  Helper waiter([&] {
    id = static_cast<pid_t>(syscall(SYS_gettid));
    result = WaitRequeuePi(&condition, 0, &lock);
    owned = lock.load();
    EXPECT_OK(UnlockPi(&lock));
  });
  waiter.AwaitSleepIn(SYS_futex);
  while (CmpRequeuePi(&condition, 1, 0, &lock, 0) != 1) {
  }
  waiter.Join();
  EXPECT_EQ(result, 0);
  EXPECT_EQ(owned & FUTEX_TID_MASK, static_cast<uint32_t>(id));
  EXPECT_EQ(lock.load(), 0u);
}

TEST(FutexRequeuePiTest, AllFollowInTurn) {
  std::atomic<uint32_t> condition{0}, lock{0};
  std::atomic<int> inside{0}, done{0};
  const auto body = [&] {
    EXPECT_OK(WaitRequeuePi(&condition, 0, &lock));
    EXPECT_EQ(inside.fetch_add(1), 0) << "alone";
    sched_yield();
    inside.fetch_sub(1);
    EXPECT_OK(UnlockPi(&lock));
    ++done;
  };
  Helper a(body), b(body), c(body);
  for (const Helper* each : {&a, &b, &c}) each->AwaitSleepIn(SYS_futex);
  ASSERT_OK(LockPi(&lock));
  int moved = 0;
  while (moved < 3) {
    const long now = CmpRequeuePi(&condition, 1, 1000, &lock, 0);
    ASSERT_GE(now, 0);
    moved += static_cast<int>(now);
  }
  EXPECT_EQ(done.load(), 0);
  EXPECT_NE(lock.load() & FUTEX_WAITERS, 0u);
  ASSERT_OK(UnlockPi(&lock));
  a.Join();
  b.Join();
  c.Join();
  EXPECT_EQ(done.load(), 3);
}

TEST(FutexRequeuePiTest, TimesOutOnTheLock) {
  std::atomic<uint32_t> condition{0}, lock{0};
  ASSERT_OK(LockPi(&lock));
  Helper waiter([&] {
    const timespec until = In(300);
    EXPECT_ERRNO(ETIMEDOUT, WaitRequeuePi(&condition, 0, &lock, &until));
  });
  waiter.AwaitSleepIn(SYS_futex);
  (void)CmpRequeuePi(&condition, 1, 0, &lock, 0);
  waiter.Join();
  ASSERT_OK(UnlockPi(&lock));
}

TEST(FutexRequeuePiTest, OnlyToTheLockThatIsWaitedFor) {
  std::atomic<uint32_t> condition{0}, lock{0}, other{0};
  Helper waiter([&] {
    const timespec until = In(500);
    EXPECT_ERRNO(ETIMEDOUT, WaitRequeuePi(&condition, 0, &lock, &until));
  });
  waiter.AwaitSleepIn(SYS_futex);
  long result;
  do result = CmpRequeuePi(&condition, 1, 0, &other, 0);
  while (result == 0);
  EXPECT_EQ(result, -1);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
}  // namespace guest
