// sigaltstack(2), rt_sigtimedwait(2), pause(2), rt_sigsuspend(2), rt_sigprocmask(2), rt_sigaction(2): errors and rules.
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"
#include "tests/util/sleeping.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

namespace guest {
namespace {

class Blocked {
 public:
  explicit Blocked(std::initializer_list<int> signals) {
    sigemptyset(&set);
    for (const int signo : signals) sigaddset(&set, signo);
    sigprocmask(SIG_BLOCK, &set, &old_);
  }
  ~Blocked() { sigprocmask(SIG_SETMASK, &old_, nullptr); }
  sigset_t set;

 private:
  sigset_t old_;
};

// Takes one signal of the set without waiting: its number, or -errno.
int Take(const sigset_t& set, siginfo_t* info = nullptr) {
  const timespec now = {};
  const long signo = syscall(SYS_rt_sigtimedwait, &set, info, &now, 8);
  return static_cast<int>(signo < 0 ? -errno : signo);
}

TEST(AlternateStackTest, Errors) {
  Mapping memory(16);
  stack_t stack = {memory.page(), 0, memory.size()}, old = {};
  EXPECT_ERRNO(EFAULT, syscall(SYS_sigaltstack, BadPointer(), nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_sigaltstack, nullptr, BadPointer()));
  stack.ss_flags = 0x40;
  EXPECT_ERRNO(EINVAL, sigaltstack(&stack, nullptr));
  stack.ss_flags = 0;
  stack.ss_size = 2047;
  EXPECT_ERRNO(ENOMEM, sigaltstack(&stack, nullptr));
  stack.ss_size = memory.size();
  EXPECT_OK(sigaltstack(&stack, &old));
  EXPECT_EQ(old.ss_flags, SS_DISABLE);
  EXPECT_OK(sigaltstack(nullptr, &old));
  EXPECT_EQ(old.ss_sp, memory.page());
  EXPECT_EQ(old.ss_size, memory.size());
  EXPECT_EQ(old.ss_flags, 0);
  stack.ss_flags = SS_DISABLE;
  stack.ss_size = 1;
  EXPECT_OK(sigaltstack(&stack, nullptr)) << "a size means nothing then";
}

stack_t seen;
int change_error;
void OnStack(int) {
  sigaltstack(nullptr, &seen);
  stack_t other = {seen.ss_sp, SS_DISABLE, 0};
  change_error = sigaltstack(&other, nullptr) == 0 ? 0 : errno;
}

TEST(AlternateStackTest, IsBusyDuringTheHandler) {
  Mapping memory(16);
  for (const int flags : {0, static_cast<int>(SS_AUTODISARM)}) {
    stack_t stack = {memory.page(), flags, memory.size()};
    ASSERT_OK(sigaltstack(&stack, nullptr));
    struct sigaction action = {}, old;
    action.sa_handler = OnStack;
    action.sa_flags = SA_ONSTACK;
    ASSERT_OK(sigaction(SIGUSR1, &action, &old));
    raise(SIGUSR1);
    EXPECT_EQ(seen.ss_flags, flags == 0 ? SS_ONSTACK : SS_DISABLE) << flags;
    EXPECT_EQ(change_error, flags == 0 ? EPERM : 0) << "only a disarmed stack may be changed on itself";
    EXPECT_OK(sigaltstack(nullptr, &stack));
    EXPECT_EQ(stack.ss_sp, memory.page()) << "back after the handler";
    EXPECT_EQ(stack.ss_flags, flags);
    sigaction(SIGUSR1, &old, nullptr);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, nullptr);
  }
}

TEST(AlternateStackTest, ThreadsHaveNoneAndChildrenACopy) {
  Mapping memory(16);
  stack_t stack = {memory.page(), 0, memory.size()}, other = {};
  ASSERT_OK(sigaltstack(&stack, nullptr));
  Helper([&] { sigaltstack(nullptr, &other); }).Join();
  EXPECT_EQ(other.ss_flags, SS_DISABLE);
  EXPECT_EQ(RunInChild([&] { return sigaltstack(nullptr, &other) == 0 && other.ss_sp == memory.page() ? 0 : 1; }), 0);
  stack.ss_flags = SS_DISABLE;
  sigaltstack(&stack, nullptr);
}

TEST(TimedWaitTest, TakesInOrderOfNumbers) {
  Blocked blocked({SIGUSR1, SIGUSR2, SIGTERM, SIGRTMIN, SIGRTMIN + 1});
  for (const int signo : {SIGRTMIN + 1, SIGRTMIN, SIGTERM, SIGUSR2, SIGUSR1}) raise(signo);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR2);
  EXPECT_EQ(Take(one), SIGUSR2) << "only what is asked for";
  for (const int signo : {SIGUSR1, SIGTERM, SIGRTMIN, SIGRTMIN + 1, -EAGAIN}) EXPECT_EQ(Take(blocked.set), signo);
}

TEST(TimedWaitTest, Errors) {
  Blocked blocked({SIGUSR1});
  timespec bad = {0, 1'000'000'000};
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigtimedwait, &blocked.set, nullptr, &bad, 8));
  bad = {-1, 0};
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigtimedwait, &blocked.set, nullptr, &bad, 8));
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigtimedwait, BadPointer(), nullptr, nullptr, 4));
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigtimedwait, BadPointer(), nullptr, nullptr, 8));
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigtimedwait, &blocked.set, nullptr, BadPointer(), 8));
  raise(SIGUSR1);
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigtimedwait, &blocked.set, BadPointer(), nullptr, 8));
  EXPECT_EQ(Take(blocked.set), -EAGAIN) << "it was taken all the same";
}

TEST(TimedWaitTest, AnotherHandlerEndsIt) {
  Blocked blocked({SIGUSR1});
  Interrupter interrupter(/*restart=*/true);
  EXPECT_ERRNO(EINTR, syscall(SYS_rt_sigtimedwait, &blocked.set, nullptr, nullptr, 8));
}

TEST(TimedWaitTest, WakesForAnIgnoredSignal) {
  Blocked blocked({SIGCHLD});
  const pid_t child = fork();
  if (child == 0) _exit(3);
  siginfo_t info = {};
  EXPECT_EQ(syscall(SYS_rt_sigtimedwait, &blocked.set, &info, nullptr, 8), SIGCHLD);
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_status, 3);
  EXPECT_EQ(info.si_code, CLD_EXITED);
  waitpid(child, nullptr, 0);
}

TEST(PauseTest, EndsOnlyWithAHandler) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGUSR1, SIG_IGN);
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR2, &action, nullptr);
    _exit(pause() == -1 && errno == EINTR ? 0 : 1);
  }
  AwaitSleepIn(child, SYS_pause);
  kill(child, SIGUSR1);
  kill(child, SIGCHLD);
  kill(child, SIGSTOP);
  int status;
  EXPECT_EQ(waitpid(child, &status, WUNTRACED), child);
  kill(child, SIGCONT);
  AwaitSleepIn(child, SYS_pause);
  kill(child, SIGUSR2);
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(MaskTest, Errors) {
  sigset_t set;
  sigemptyset(&set);
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, nullptr, 4));
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigprocmask, 77, &set, nullptr, 8));
  EXPECT_OK(syscall(SYS_rt_sigprocmask, 77, nullptr, &set, 8)) << "without a set nothing is done";
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigprocmask, SIG_BLOCK, BadPointer(), nullptr, 8));
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, BadPointer(), 8));
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigpending, &set, 9));
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigpending, BadPointer(), 8));
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigsuspend, &set, 4));
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigsuspend, BadPointer(), 8));
}

TEST(MaskTest, KillAndStopAreNeverBlocked) {
  EXPECT_EQ(RunInChild([] {
              sigset_t all, now;
              sigfillset(&all);
              EXPECT_OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, 8));
              EXPECT_OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &now, 8));
              EXPECT_FALSE(sigismember(&now, SIGKILL));
              EXPECT_FALSE(sigismember(&now, SIGSTOP));
              EXPECT_TRUE(sigismember(&now, SIGTERM));
              return 0;
            }),
            0);
}

TEST(ActionTest, Errors) {
  struct {
    void* handler;
    unsigned long flags;
    void* restorer;
    unsigned long mask;
  } action = {};
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigaction, SIGUSR1, &action, nullptr, 4));
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigaction, 0, nullptr, &action, 8));
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigaction, 65, nullptr, &action, 8));
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigaction, SIGKILL, &action, nullptr, 8));
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigaction, SIGSTOP, &action, nullptr, 8));
  EXPECT_OK(syscall(SYS_rt_sigaction, SIGKILL, nullptr, &action, 8)) << "asking is allowed";
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigaction, SIGUSR1, BadPointer(), nullptr, 8));
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigaction, SIGUSR1, nullptr, BadPointer(), 8));
}

}  // namespace
}  // namespace guest
