// fork(2), vfork(2), clone(2), clone3(2): what the child shares and what it is told.
#include <errno.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/util/sleeping.h"

namespace {

int WaitStatus(pid_t pid) {
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, __WALL), pid);
  return status;
}

TEST(ForkTest, ChildHasACopyOfMemory) {
  volatile int value = 1;
  const pid_t pid = fork();
  if (pid == 0) {
    value = 2;
    _exit(value);
  }
  EXPECT_EQ(WEXITSTATUS(WaitStatus(pid)), 2);
  EXPECT_EQ(value, 1);
}

TEST(ForkTest, SharedMappingIsShared) {
  auto* word =
      static_cast<std::atomic<int>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(word, MAP_FAILED);
  const pid_t pid = fork();
  if (pid == 0) {
    word->store(42);
    _exit(0);
  }
  WaitStatus(pid);
  EXPECT_EQ(word->load(), 42);
  munmap(word, 4096);
}

TEST(ForkTest, ManyGenerations) {
  constexpr int kDepth = 20;
  for (int depth = 0; depth < kDepth; ++depth) {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid != 0) {
      const int status = WaitStatus(pid);
      if (depth > 0) _exit(WEXITSTATUS(status) + 1);
      EXPECT_EQ(WEXITSTATUS(status), kDepth - 1);
      return;
    }
  }
  _exit(0);
}

// A parent need not wait for its child to be there, whatever it does to it at once.
TEST(ForkTest, ChildIsReachableAtOnce) {
  volatile int value = 42;
  for (int i = 0; i < 50; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      for (;;) pause();
    }
    int seen = 0;
    const iovec local = {&seen, sizeof(seen)};
    const iovec remote = {const_cast<int*>(&value), sizeof(value)};
    EXPECT_EQ(process_vm_readv(pid, &local, 1, &remote, 1, 0), static_cast<ssize_t>(sizeof(seen)));
    EXPECT_EQ(seen, 42);
    EXPECT_EQ(kill(pid, SIGKILL), 0);
    EXPECT_EQ(WTERMSIG(WaitStatus(pid)), SIGKILL);
  }
}

TEST(ForkTest, ChildIsKilledAtOnce) {
  for (int i = 0; i < 100; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      for (;;) pause();
    }
    EXPECT_EQ(kill(pid, SIGKILL), 0);
    EXPECT_EQ(WTERMSIG(WaitStatus(pid)), SIGKILL);
  }
}

TEST(ForkTest, MaskIsInheritedAndPendingSignalsAreNot) {
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, &old);
  raise(SIGUSR1);
  const pid_t pid = fork();
  if (pid == 0) {
    sigset_t mask, pending;
    sigprocmask(SIG_BLOCK, nullptr, &mask);
    sigpending(&pending);
    _exit(sigismember(&mask, SIGUSR1) && !sigismember(&pending, SIGUSR1) ? 0 : 1);
  }
  EXPECT_EQ(WaitStatus(pid), 0);
  const timespec zero = {};
  EXPECT_EQ(sigtimedwait(&set, nullptr, &zero), SIGUSR1);
  sigprocmask(SIG_SETMASK, &old, nullptr);
}

TEST(VforkTest, ParentWaitsAndMemoryIsShared) {
  volatile int value = 1;
  const pid_t parent = getpid();
  const pid_t pid = vfork();
  if (pid == 0) {
    guest::AwaitState(parent, "DS");
    value = 2;
    _exit(3);
  }
  EXPECT_EQ(value, 2);
  EXPECT_EQ(WEXITSTATUS(WaitStatus(pid)), 3);
}

TEST(CloneTest, ImpossibleFlagCombinations) {
  const auto clone_errno = [](unsigned long flags) {
    const long pid = syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    if (pid > 0) WaitStatus(static_cast<pid_t>(pid));
    return pid < 0 ? errno : 0;
  };
  EXPECT_EQ(clone_errno(CLONE_THREAD), EINVAL);
  EXPECT_EQ(clone_errno(CLONE_SIGHAND), EINVAL);
  EXPECT_EQ(clone_errno(CLONE_THREAD | CLONE_SIGHAND), EINVAL);
  EXPECT_EQ(clone_errno(CLONE_FS | CLONE_NEWNS), EINVAL);
  EXPECT_EQ(clone_errno(CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD), EINVAL);
}

TEST(CloneTest, TidsAreStored) {
  int parent_tid = 0, child_tid = 0;
  const long pid =
      syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, &parent_tid, &child_tid, 0);
  if (pid == 0) _exit(child_tid == static_cast<int>(syscall(SYS_gettid)) ? 0 : 1);
  EXPECT_EQ(parent_tid, pid);
  EXPECT_EQ(child_tid, 0);  // written in the child's copy
  EXPECT_EQ(WaitStatus(static_cast<pid_t>(pid)), 0);
}

// The child writes its number itself, before anything else; an address that takes none is nobody's error.
TEST(CloneTest, ChildTidIsStoredInTheChildOnly) {
  static int word;
  for (int* const place : {&word, static_cast<int*>(nullptr)}) {
    word = 0;
    const pid_t pid = static_cast<pid_t>(syscall(SYS_clone, CLONE_CHILD_SETTID | SIGCHLD, nullptr, nullptr, place, 0));
    if (pid == 0) _exit(place != &word || word == syscall(SYS_gettid) ? 0 : 1);
    ASSERT_GT(pid, 0);
    EXPECT_EQ(WEXITSTATUS(WaitStatus(pid)), 0);
    EXPECT_EQ(word, 0);
  }
}

// Threads that are asked to stop before they have begun.
TEST(CloneTest, ThreadIsSignalledAtOnce) {
  static std::atomic<int> handled;
  struct sigaction action = {};
  action.sa_handler = [](int) { handled.fetch_add(1); };
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  for (int i = 0; i < 50; ++i) {
    std::atomic<bool> stop = false;
    std::thread thread([&] {
      while (!stop.load()) sched_yield();
    });
    EXPECT_EQ(pthread_kill(thread.native_handle(), SIGUSR1), 0);
    while (handled.load() <= i) sched_yield();
    stop.store(true);
    thread.join();
  }
}

TEST(CloneTest, ChildWithoutExitSignalNeedsWallOrWclone) {
  const long pid = syscall(SYS_clone, 0, 0, 0, 0, 0);
  if (pid == 0) _exit(9);
  EXPECT_EQ(waitpid(static_cast<pid_t>(pid), nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
  int status;
  EXPECT_EQ(waitpid(static_cast<pid_t>(pid), &status, __WCLONE), pid);
  EXPECT_EQ(WEXITSTATUS(status), 9);
}

TEST(Clone3Test, SizesAreChecked) {
  clone_args args = {};
  EXPECT_EQ(syscall(SYS_clone3, &args, 8), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_clone3, &args, 8192), -1);
  EXPECT_EQ(errno, E2BIG);
  struct {
    clone_args args;
    uint64_t extra;
  } large = {};
  large.args.exit_signal = SIGCHLD;
  large.extra = 1;
  EXPECT_EQ(syscall(SYS_clone3, &large, sizeof(large)), -1);
  EXPECT_EQ(errno, E2BIG);
  EXPECT_EQ(syscall(SYS_clone3, nullptr, sizeof(args)), -1);
  EXPECT_EQ(errno, EFAULT);
  args.stack = 4096;  // a stack without a size
  EXPECT_EQ(syscall(SYS_clone3, &args, sizeof(args)), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Clone3Test, PidfdBecomesReadable) {
  int pidfd = -1;
  clone_args args = {};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  const long pid = syscall(SYS_clone3, &args, sizeof(args));
  if (pid == 0) {
    guest::AwaitSleepIn(getppid(), SYS_poll);
    _exit(4);
  }
  ASSERT_GE(pidfd, 0);
  pollfd p = {pidfd, POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 0), 0);
  EXPECT_EQ(poll(&p, 1, -1), 1);
  siginfo_t info = {};
  EXPECT_EQ(waitid(P_PIDFD, pidfd, &info, WEXITED), 0);
  EXPECT_EQ(info.si_pid, pid);
  EXPECT_EQ(info.si_status, 4);
  close(pidfd);
}

TEST(ForkTest, ProcessLimit) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (setresuid(12345, 12345, 12345) != 0) _exit(0);  // needs root
    const rlimit limit = {1, 1};
    setrlimit(RLIMIT_NPROC, &limit);
    const pid_t inner = fork();
    if (inner == 0) _exit(0);
    _exit(inner < 0 && errno == EAGAIN ? 0 : 1);
  }
  EXPECT_EQ(WaitStatus(pid), 0);
}

TEST(ForkTest, IntoWhatIsNoControlGroup) {
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
  } args = {};
  args.flags = uint64_t{1} << 33;  // CLONE_INTO_CGROUP
  args.exit_signal = SIGCHLD;
  args.cgroup = 9999;
  EXPECT_EQ(syscall(SYS_clone3, &args, sizeof(args)), -1);
  EXPECT_EQ(errno, EBADF);
  args.cgroup = static_cast<uint64_t>(-1);
  EXPECT_EQ(syscall(SYS_clone3, &args, sizeof(args)), -1);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
