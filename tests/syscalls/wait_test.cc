// wait4(2), waitid(2), exit(2), reparenting.
#include <errno.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

namespace {

pid_t Child(int code) {
  const pid_t pid = fork();
  if (pid == 0) _exit(code);
  return pid;
}

void Ignore(int) {}

TEST(WaitTest, NoChildren) {
  // In a new process: this one may be an init or a subreaper, with orphans of others.
  EXPECT_EQ(guest::RunInChild([] {
              EXPECT_ERRNO(ECHILD, waitpid(-1, nullptr, 0));
              EXPECT_ERRNO(ECHILD, waitpid(-1, nullptr, WNOHANG));
              EXPECT_ERRNO(ESRCH, waitpid(INT_MIN, nullptr, 0));
              EXPECT_ERRNO(EINVAL, waitpid(-1, nullptr, 0x100));
              return 0;
            }),
            0);
}

TEST(WaitTest, NoHang) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    char c;
    close(pipe_fds[1]);
    (void)!read(pipe_fds[0], &c, 1);
    _exit(1);
  }
  EXPECT_EQ(waitpid(pid, nullptr, WNOHANG), 0);
  close(pipe_fds[1]);
  close(pipe_fds[0]);
  int status;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST(WaitTest, BadStatusPointer) {
  const pid_t pid = Child(0);
  EXPECT_EQ(syscall(SYS_wait4, pid, 8, 0, nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
  // The child was reaped all the same.
  EXPECT_EQ(waitpid(pid, nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(WaitTest, WaitidFillsSiginfo) {
  const pid_t pid = Child(17);
  siginfo_t info = {};
  EXPECT_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(info.si_signo, SIGCHLD);
  EXPECT_EQ(info.si_code, CLD_EXITED);
  EXPECT_EQ(info.si_pid, pid);
  EXPECT_EQ(info.si_uid, getuid());
  EXPECT_EQ(info.si_status, 17);
  info = {};
  EXPECT_EQ(waitid(P_ALL, 0, &info, WEXITED), 0);
  EXPECT_EQ(info.si_status, 17);
}

TEST(WaitTest, WaitidValidates) {
  EXPECT_EQ(waitid(P_ALL, 0, nullptr, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(waitid(static_cast<idtype_t>(77), 0, nullptr, WEXITED), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(waitid(P_PIDFD, 9999, nullptr, WEXITED), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(WaitTest, KilledChild) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  kill(pid, SIGKILL);
  siginfo_t info = {};
  EXPECT_EQ(waitid(P_PID, pid, &info, WEXITED), 0);
  EXPECT_EQ(info.si_code, CLD_KILLED);
  EXPECT_EQ(info.si_status, SIGKILL);
}

TEST(WaitTest, StopAndContinueAreReported) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  int status;
  kill(pid, SIGSTOP);
  EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
  EXPECT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(WSTOPSIG(status), SIGSTOP);
  EXPECT_EQ(waitpid(pid, &status, WUNTRACED | WNOHANG), 0);  // once
  kill(pid, SIGCONT);
  EXPECT_EQ(waitpid(pid, &status, WCONTINUED), pid);
  EXPECT_TRUE(WIFCONTINUED(status));
  kill(pid, SIGKILL);
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST(WaitTest, KillWorksOnStoppedProcess) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  int status;
  kill(pid, SIGSTOP);
  waitpid(pid, &status, WUNTRACED);
  kill(pid, SIGTERM);  // waits until it is continued
  EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0);
  kill(pid, SIGKILL);
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST(WaitTest, IgnoredSigchldLeavesNoZombie) {
  struct sigaction ignore = {}, old;
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGCHLD, &ignore, &old);
  const pid_t pid = Child(0);
  // The wait lasts until the child is gone and then finds nobody.
  EXPECT_EQ(waitpid(pid, nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
  sigaction(SIGCHLD, &old, nullptr);
}

TEST(WaitTest, InterruptedByHandler) {
  struct sigaction action = {}, old;
  action.sa_handler = Ignore;
  sigaction(SIGALRM, &action, &old);
  const pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  {
    guest::WhenAsleepIn later(SYS_wait4, [] { kill(getpid(), SIGALRM); });
    EXPECT_EQ(waitpid(pid, nullptr, 0), -1);
  }
  EXPECT_EQ(errno, EINTR);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  sigaction(SIGALRM, &old, nullptr);
}

TEST(WaitTest, RestartedAfterHandler) {
  struct sigaction action = {}, old;
  static std::atomic<int>* handled;
  handled =
      static_cast<std::atomic<int>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  action.sa_handler = [](int) { ++*handled; };
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, &old);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    guest::AwaitSleepIn(parent, SYS_wait4);
    kill(parent, SIGALRM);
    while (*handled == 0) sched_yield();
    guest::AwaitSleepIn(parent, SYS_wait4);
    _exit(5);
  }
  int status;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 5);
  EXPECT_EQ(*handled, 1);
  sigaction(SIGALRM, &old, nullptr);
  munmap(handled, 4096);
}

TEST(WaitTest, SubreaperGetsOrphans) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const pid_t reaper = getpid();
  const pid_t middle = fork();
  if (middle == 0) {
    const pid_t parent = getpid();
    const pid_t orphan = fork();
    if (orphan == 0) {
      while (getppid() == parent) sched_yield();
      _exit(getppid() == reaper ? 21 : 1);
    }
    (void)!write(fds[1], &orphan, sizeof(orphan));
    _exit(0);
  }
  pid_t orphan = 0;
  ASSERT_EQ(read(fds[0], &orphan, sizeof(orphan)), static_cast<ssize_t>(sizeof(orphan)));
  EXPECT_EQ(waitpid(middle, nullptr, 0), middle);
  int status;
  EXPECT_EQ(waitpid(orphan, &status, 0), orphan);
  EXPECT_EQ(WEXITSTATUS(status), 21);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  close(fds[0]);
  close(fds[1]);
}

TEST(WaitTest, LeaderMayExitBeforeItsThreads) {
  const pid_t pid = fork();
  if (pid == 0) {
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          guest::AwaitState(getpid(), "Z");
          syscall(SYS_exit_group, 33);
          return nullptr;
        },
        nullptr);
    syscall(SYS_exit, 1);
  }
  int status;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 33);
}

TEST(WaitTest, UsageOfChildrenIsAdded) {
  const pid_t pid = fork();
  if (pid == 0) {
    const clock_t end = clock() + CLOCKS_PER_SEC / 20;
    while (clock() < end) {
    }
    _exit(0);
  }
  rusage own = {};
  EXPECT_EQ(wait4(pid, nullptr, 0, &own), pid);
  EXPECT_GE(own.ru_utime.tv_usec + own.ru_stime.tv_usec + own.ru_utime.tv_sec * 1'000'000, 30'000);
  rusage children = {};
  getrusage(RUSAGE_CHILDREN, &children);
  EXPECT_GE(children.ru_utime.tv_sec * 1'000'000 + children.ru_utime.tv_usec + children.ru_stime.tv_usec, 30'000);
}

TEST(WaitTest, ParentDeathSignal) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const pid_t middle = fork();
  if (middle == 0) {
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      (void)!write(fds[1], "x", 1);
      for (;;) pause();
    }
    char c;
    (void)!read(fds[0], &c, 1);
    _exit(0);
  }
  close(fds[1]);
  EXPECT_EQ(waitpid(middle, nullptr, 0), middle);
  // End of file once the grandchild is gone too.
  char c;
  EXPECT_EQ(read(fds[0], &c, 1), 0);
  close(fds[0]);
}

}  // namespace
