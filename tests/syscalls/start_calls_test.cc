// Calls that programs and threads start with, from call sites where a kernel may answer them without being entered:
// what they leave behind is seen by others and at the end. And starts of many threads, which may be told things,
// interrupted and ended as soon as they are there.
#include <asm/prctl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/hot_calls.h"

namespace {

using guest::Action;
using guest::CountOne;
using guest::handled;

long SetRobustList(void* head, size_t size = sizeof(robust_list_head)) {
  return syscall(SYS_set_robust_list, head, size);
}
void* RobustListOf(pid_t tid) {
  void* head = nullptr;
  size_t size = 0;
  EXPECT_OK(syscall(SYS_get_robust_list, tid, &head, &size));
  EXPECT_EQ(size, sizeof(robust_list_head));
  return head;
}

TEST(StartCallsTest, RobustListIsSeenAtOnce) {
  robust_list_head head = {{&head.list}, 0, nullptr};
  std::atomic<pid_t> tid{0};
  std::atomic<bool> seen{false};
  std::thread thread([&] {
    void* const library = RobustListOf(0);
    EXPECT_ERRNO(EINVAL, SetRobustList(&head, 8));
    EXPECT_EQ(RobustListOf(0), library);
    EXPECT_OK(SetRobustList(&head));
    tid = gettid();
    while (!seen) sched_yield();
    EXPECT_EQ(RobustListOf(0), &head);
    EXPECT_OK(SetRobustList(library));
    EXPECT_EQ(RobustListOf(0), library);
  });
  while (tid == 0) sched_yield();
  EXPECT_EQ(RobustListOf(tid), &head);
  seen = true;
  thread.join();
}

TEST(StartCallsTest, RobustListIsWalkedAtTheEnd) {
  struct Lock {
    robust_list link;
    std::atomic<uint32_t> word;
  } lock = {};
  robust_list_head head = {};
  head.list.next = &lock.link;
  lock.link.next = &head.list;
  head.futex_offset = offsetof(Lock, word);
  std::thread([&] {
    lock.word = static_cast<uint32_t>(gettid());
    EXPECT_OK(SetRobustList(&head));
  }).join();
  EXPECT_EQ(lock.word & FUTEX_OWNER_DIED, FUTEX_OWNER_DIED);
}

TEST(StartCallsTest, ForkHasNoRobustList) {
  robust_list_head head = {{&head.list}, 0, nullptr};
  EXPECT_OK(SetRobustList(&head));
  const long pid = syscall(SYS_fork);  // the C library's sets one for the child
  if (pid == 0) {
    void* list = &head;
    size_t size = 0;
    syscall(SYS_get_robust_list, 0, &list, &size);
    _exit(list == nullptr ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(static_cast<pid_t>(pid), &status, 0), pid);
  EXPECT_EQ(status, 0);
}

// A thread's stack and what it is told of, for a clone past the C library.
struct RawThread {
  RawThread() : stack(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~RawThread() { munmap(stack, kSize); }
  void* top() const { return static_cast<char*>(stack) + kSize; }
  static constexpr size_t kSize = 64 << 10;
  void* const stack;
};

TEST(StartCallsTest, TidAddressIsClearedAtTheEnd) {
  EXPECT_EQ(guest::RunInChild([] {
              static std::atomic<int> word{1};
              const RawThread raw;
              const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
              const auto body = [](void*) {
                if (syscall(SYS_set_tid_address, &word) != syscall(SYS_gettid)) _exit(1);
                syscall(SYS_exit, 0);
                return 0;
              };
              if (clone(body, raw.top(), flags, nullptr) < 0) return 2;
              while (word == 1) syscall(SYS_futex, &word, FUTEX_WAIT, 1, nullptr);
              return word.load();
            }),
            0);
}

TEST(StartCallsTest, SegmentBase) {
  unsigned long base = 0, again = 0;
  ASSERT_OK(syscall(SYS_arch_prctl, ARCH_GET_FS, &base));
  thread_local int mine = 7;
  EXPECT_ERRNO(EPERM, syscall(SYS_arch_prctl, ARCH_SET_FS, ~0ul));
  EXPECT_OK(syscall(SYS_arch_prctl, ARCH_SET_FS, base));
  EXPECT_OK(syscall(SYS_arch_prctl, ARCH_GET_FS, &again));
  EXPECT_EQ(again, base);
  EXPECT_EQ(mine, 7);
}

// --- Threads that have just been made.

TEST(StartCallsTest, SignalsReachAThreadThatMakesNoCalls) {
  const Action action(SIGUSR1, CountOne);
  for (int i = 0; i < 300; ++i) {
    handled = 0;
    std::thread thread([] {
      while (handled == 0) {
      }
    });
    ASSERT_EQ(pthread_kill(thread.native_handle(), SIGUSR1), 0);
    thread.join();
    ASSERT_EQ(handled, 1);
  }
}

TEST(StartCallsTest, CreatorsAreInterrupted) {
  const Action action(SIGALRM, CountOne, SA_RESTART);
  handled = 0;
  const itimerval often = {{0, 300}, {0, 300}};
  ASSERT_OK(setitimer(ITIMER_REAL, &often, nullptr));
  std::atomic<int> ran{0};
  std::vector<std::thread> creators;
  for (int i = 0; i < 3; ++i) {
    creators.emplace_back([&] {
      for (int j = 0; j < 200; ++j) std::thread([&] { ++ran; }).join();
    });
  }
  for (std::thread& creator : creators) creator.join();
  const itimerval off = {};
  ASSERT_OK(setitimer(ITIMER_REAL, &off, nullptr));
  EXPECT_EQ(ran, 600);
  EXPECT_GT(handled, 0);
}

// They fail (EAGAIN) while the group ends or is replaced.
void StartThreadsForEver() {
  for (;;) {
    pthread_t thread;
    if (pthread_create(
            &thread, nullptr, [](void* p) { return p; }, nullptr) == 0)
      pthread_join(thread, nullptr);
  }
}

TEST(StartCallsTest, TheGroupEndsWhileThreadsStart) {
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(guest::RunInChild([] {
                for (int j = 0; j < 3; ++j) std::thread(StartThreadsForEver).detach();
                for (int j = 0; j < 5; ++j) std::thread([] {}).join();
                return 5;
              }),
              5);
  }
}

TEST(StartCallsTest, ExecWhileThreadsStart) {
  for (int i = 0; i < 20; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      for (int j = 0; j < 3; ++j) std::thread(StartThreadsForEver).detach();
      std::thread([] { execl("/bin/true", "true", nullptr); }).join();
      _exit(1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
}

// What the first instructions of a program find, whatever there is of it.
TEST(StartCallsTest, LargeArgumentsAndEnvironments) {
  for (const size_t size : {1u, 4000u, 20'000u, 30'000u, 100'000u}) {
    const std::string text(size, 'x');
    const std::string check = "test ${#1} = " + std::to_string(size) + " && test ${#Y} = " + std::to_string(size);
    const std::string environment = "Y=" + text;
    const pid_t pid = fork();
    if (pid == 0) {
      const char* const argv[] = {"sh", "-c", check.c_str(), "sh", text.c_str(), nullptr};
      const char* const envp[] = {environment.c_str(), nullptr};
      execve("/bin/sh", const_cast<char**>(argv), const_cast<char**>(envp));
      _exit(127);
    }
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0) << size;
  }
}

}  // namespace
