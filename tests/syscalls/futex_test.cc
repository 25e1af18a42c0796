// futex(2), futex_waitv(2), robust lists.
#include <errno.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <list>
#include <thread>
#include <vector>

#include "tests/util/sleeping.h"

namespace {

long Futex(void* addr, int op, uint32_t value, const timespec* timeout = nullptr, void* addr2 = nullptr,
           uint32_t value3 = 0) {
  return syscall(SYS_futex, addr, op, value, timeout, addr2, value3);
}
long FutexCount(void* addr, int op, uint32_t value, long value2, void* addr2, uint32_t value3) {
  return syscall(SYS_futex, addr, op, value, value2, addr2, value3);
}

constexpr timespec kShort = {0, 20'000'000};

TEST(FutexTest, WrongValueReturnsAtOnce) {
  int word = 1;
  EXPECT_EQ(Futex(&word, FUTEX_WAIT_PRIVATE, 2), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(FutexTest, Errors) {
  alignas(8) char bytes[8] = {};
  EXPECT_EQ(Futex(bytes + 1, FUTEX_WAIT, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Futex(reinterpret_cast<void*>(8), FUTEX_WAIT_PRIVATE, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(Futex(bytes, FUTEX_WAIT_BITSET, 0, nullptr, nullptr, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  const timespec bad = {0, 2'000'000'000};
  EXPECT_EQ(Futex(bytes, FUTEX_WAIT, 0, &bad), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Futex(bytes, 77, 0), -1);
  EXPECT_EQ(errno, ENOSYS);
}

TEST(FutexTest, Timeouts) {
  int word = 0;
  EXPECT_EQ(Futex(&word, FUTEX_WAIT_PRIVATE, 0, &kShort), -1);
  EXPECT_EQ(errno, ETIMEDOUT);
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  EXPECT_EQ(Futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &now, nullptr, ~0u), -1);
  EXPECT_EQ(errno, ETIMEDOUT);
}

TEST(FutexTest, WakeCountsWaiters) {
  std::atomic<int> word{0}, done{0};
  std::list<guest::Helper> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] {
      while (word == 0) Futex(&word, FUTEX_WAIT_PRIVATE, 0);
      ++done;
    });
  }
  guest::AwaitFutexWaiters(&word, 4);
  word = 1;
  EXPECT_EQ(Futex(&word, FUTEX_WAKE_PRIVATE, 1), 1);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE_PRIVATE, 10), 3);
  waiters.clear();
  EXPECT_EQ(done, 4);
}

TEST(FutexTest, SharedBetweenProcesses) {
  auto* word =
      static_cast<std::atomic<int>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t pid = fork();
  if (pid == 0) {
    while (*word == 0) Futex(word, FUTEX_WAIT, 0);
    _exit(3);
  }
  guest::AwaitFutexWaiters(word, 1, /*shared=*/true);
  *word = 1;
  EXPECT_EQ(Futex(word, FUTEX_WAKE, 1), 1);
  int status;
  waitpid(pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 3);
  munmap(word, 4096);
}

TEST(FutexTest, Requeue) {
  std::atomic<int> from{0}, to{0}, done{0};
  std::list<guest::Helper> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      Futex(&from, FUTEX_WAIT_PRIVATE, 0);
      ++done;
    });
  }
  guest::AwaitFutexWaiters(&from, 3);
  EXPECT_EQ(FutexCount(&from, FUTEX_CMP_REQUEUE_PRIVATE, 1, 10, &to, 5), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(FutexCount(&from, FUTEX_CMP_REQUEUE_PRIVATE, 1, 10, &to, 0), 3);
  EXPECT_EQ(Futex(&from, FUTEX_WAKE_PRIVATE, 10), 0);
  EXPECT_EQ(Futex(&to, FUTEX_WAKE_PRIVATE, 10), 2);
  waiters.clear();
  EXPECT_EQ(done, 3);
}

TEST(FutexTest, WakeOp) {
  std::atomic<int> first{0}, second{5};
  guest::Helper waiter([&] { Futex(&second, FUTEX_WAIT_PRIVATE, 5); });
  guest::AwaitFutexWaiters(&second, 1);
  // second += 2; wakes its waiter because the old value was > 4.
  EXPECT_EQ(FutexCount(&first, FUTEX_WAKE_OP_PRIVATE, 1, 1, &second, FUTEX_OP(FUTEX_OP_ADD, 2, FUTEX_OP_CMP_GT, 4)), 1);
  waiter.Join();
  EXPECT_EQ(second, 7);
}

TEST(FutexTest, BitsetSelects) {
  std::atomic<int> word{0}, done{0};
  guest::Helper waiter([&] {
    Futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, nullptr, nullptr, 2);
    ++done;
  });
  guest::AwaitFutexWaiters(&word, 1);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, nullptr, nullptr, 1), 0);
  EXPECT_EQ(done, 0);
  EXPECT_EQ(Futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, nullptr, nullptr, 2), 1);
  waiter.Join();
}

TEST(FutexTest, Waitv) {
  struct Entry {
    uint64_t value, addr;
    uint32_t flags, reserved;
  };
  std::atomic<uint32_t> a{0}, b{0};
  Entry entries[2] = {{0, reinterpret_cast<uint64_t>(&a), 2 | FUTEX_PRIVATE_FLAG, 0},
                      {0, reinterpret_cast<uint64_t>(&b), 2 | FUTEX_PRIVATE_FLAG, 0}};
  std::atomic<long> result{-1};
  guest::Helper waiter([&] { result = syscall(SYS_futex_waitv, entries, 2, 0, nullptr, 0); });
  waiter.AwaitSleepIn(SYS_futex_waitv);
  EXPECT_EQ(Futex(&b, FUTEX_WAKE_PRIVATE, 1), 1);
  waiter.Join();
  EXPECT_EQ(result, 1);
  entries[0].flags = 7;
  EXPECT_EQ(syscall(SYS_futex_waitv, entries, 2, 0, nullptr, 0), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(FutexTest, InterruptedBySignal) {
  struct sigaction action = {}, old;
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, &old);
  int word = 0;
  guest::WhenAsleepIn later(SYS_futex, [] { kill(getpid(), SIGALRM); });
  EXPECT_EQ(Futex(&word, FUTEX_WAIT_PRIVATE, 0), -1);
  EXPECT_EQ(errno, EINTR);
  sigaction(SIGALRM, &old, nullptr);
}

TEST(FutexTest, StopAndContinueDoNotEndATimedWait) {
  auto* word =
      static_cast<std::atomic<int>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (const bool wake : {true, false}) {
    const pid_t pid = fork();
    if (pid == 0) {
      const timespec wait = {wake ? 1000 : 2, 0};
      const long r = Futex(word, FUTEX_WAIT, 0, &wait);
      _exit(wake ? r != 0 : r != -1 || errno != ETIMEDOUT);
    }
    guest::AwaitSleepIn(pid, SYS_futex);
    kill(pid, SIGSTOP);
    int status;
    EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
    EXPECT_TRUE(WIFSTOPPED(status));
    kill(pid, SIGCONT);
    if (wake) {
      guest::AwaitFutexWaiters(word, 1, /*shared=*/true);
      EXPECT_EQ(Futex(word, FUTEX_WAKE, 1), 1);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  munmap(word, 4096);
}

TEST(PiFutexTest, MutexIsExclusive) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
  pthread_mutex_t mutex;
  ASSERT_EQ(pthread_mutex_init(&mutex, &attr), 0);
  int counter = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 500; ++n) {
        pthread_mutex_lock(&mutex);
        ++counter;
        pthread_mutex_unlock(&mutex);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(counter, 2000);
  uint32_t word = 0;
  EXPECT_EQ(Futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(Futex(&word, FUTEX_LOCK_PI_PRIVATE, 0), 0);
  EXPECT_EQ(word & FUTEX_TID_MASK, static_cast<uint32_t>(syscall(SYS_gettid)));
  EXPECT_EQ(Futex(&word, FUTEX_LOCK_PI_PRIVATE, 0), -1);
  EXPECT_EQ(errno, EDEADLK);
  EXPECT_EQ(Futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0), 0);
}

TEST(RobustTest, DeadOwnerIsReported) {
  for (const int protocol : {PTHREAD_PRIO_NONE, PTHREAD_PRIO_INHERIT}) {
    auto* mutex =
        static_cast<pthread_mutex_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setprotocol(&attr, protocol);
    ASSERT_EQ(pthread_mutex_init(mutex, &attr), 0);
    int held[2];
    ASSERT_EQ(pipe(held), 0);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
      pthread_mutex_lock(mutex);
      (void)!write(held[1], "x", 1);
      guest::AwaitSleepIn(parent, SYS_futex);
      _exit(0);
    }
    char byte;
    EXPECT_EQ(read(held[0], &byte, 1), 1);
    EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD) << protocol;
    close(held[0]);
    close(held[1]);
    EXPECT_EQ(pthread_mutex_consistent(mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(mutex), 0);
    waitpid(pid, nullptr, 0);
    munmap(mutex, 4096);
  }
}

TEST(ThreadTest, ManyThreads) {
  std::atomic<int> sum{0};
  for (int round = 0; round < 10; ++round) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; ++i) threads.emplace_back([&] { ++sum; });
    for (std::thread& t : threads) t.join();
  }
  EXPECT_EQ(sum, 100);
}

}  // namespace
