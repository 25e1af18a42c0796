// setpgid(2), setsid(2), getsid(2), orphaned process groups.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

int RunInChild(int (*body)()) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST(ProcessGroupTest, NewGroup) {
  EXPECT_EQ(RunInChild([] {
              if (setpgid(0, 0) != 0) return 1;
              if (getpgid(0) != getpid() || getpgrp() != getpid()) return 2;
              return setpgid(0, getpid()) == 0 ? 0 : 3;
            }),
            0);
}

TEST(ProcessGroupTest, Errors) {
  EXPECT_EQ(setpgid(0, -1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(setpgid(0x3fffffff, 0), -1);
  EXPECT_EQ(errno, ESRCH);
  EXPECT_EQ(getpgid(0x3fffffff), -1);
  EXPECT_EQ(errno, ESRCH);
  EXPECT_EQ(RunInChild([] { return setpgid(0, 0x3fffffff) == -1 && errno == EPERM ? 0 : 1; }), 0);
}

TEST(SessionTest, NewSession) {
  EXPECT_EQ(RunInChild([] {
              const pid_t sid = setsid();
              if (sid != getpid() || getsid(0) != sid || getpgid(0) != sid) return 1;
              if (setsid() != -1 || errno != EPERM) return 2;
              return setpgid(0, 0) == -1 && errno == EPERM ? 0 : 3;
            }),
            0);
}

TEST(ProcessGroupTest, SignalReachesTheGroup) {
  EXPECT_EQ(RunInChild([] {
              setpgid(0, 0);
              const pid_t pid = fork();
              if (pid == 0) {
                for (;;) pause();
              }
              signal(SIGTERM, SIG_IGN);
              kill(0, SIGTERM);
              int status;
              waitpid(pid, &status, 0);
              // The child inherited nothing: it was forked before the disposition changed.
              return WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM ? 0 : 1;
            }),
            0);
}

TEST(ProcessGroupTest, OrphanedStoppedGroupGetsHangup) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const pid_t middle = fork();
  if (middle == 0) {
    setsid();
    const pid_t stopped = fork();
    if (stopped == 0) {
      setpgid(0, 0);
      static int out;
      out = fds[1];
      signal(SIGHUP, [](int) { (void)!write(out, "H", 1); });
      raise(SIGSTOP);
      _exit(0);
    }
    waitpid(stopped, nullptr, WUNTRACED);
    _exit(0);  // the group is an orphan now and has a stopped member
  }
  close(fds[1]);
  waitpid(middle, nullptr, 0);
  char c = 0;
  EXPECT_EQ(read(fds[0], &c, 1), 1);
  EXPECT_EQ(c, 'H');
  close(fds[0]);
}

}  // namespace
