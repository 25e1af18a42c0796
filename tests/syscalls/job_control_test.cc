// Terminals and job control: TIOCSCTTY, TIOCNOTTY, tcsetpgrp(3), tcgetsid(3), background reading and writing, orphaned
// groups (tty_ioctl(4), credentials(7)).
#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

class JobControlTest : public testing::Test {
 protected:
  JobControlTest() { EXPECT_OK(openpty(&master_, &slave_, nullptr, nullptr, nullptr)); }
  ~JobControlTest() override {
    close(master_);
    close(slave_);
  }
  // Runs `body` in the leader of a new session, whose terminal the slave is if `terminal`.
  void InSession(const std::function<void()>& body, bool terminal = true) {
    EXPECT_EQ(RunInChild([&] {
                signal(SIGHUP, SIG_IGN);
                if (setsid() < 0) return 1;
                if (terminal && ioctl(slave_, TIOCSCTTY, 0) != 0) return 2;
                body();
                return 0;
              }),
              0);
  }
  // A member of the session in a background group of its own. Its status (waitpid) after its next change.
  static pid_t Background(const std::function<int()>& body) {
    const pid_t pid = fork();
    if (pid == 0) {
      setpgid(0, 0);
      _exit(body());
    }
    setpgid(pid, pid);
    return pid;
  }
  static int StatusOf(pid_t pid) {
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
    return status;
  }
  static void End(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  int master_, slave_;
};

TEST_F(JobControlTest, WhoMayTakeATerminal) {
  InSession([&] {
    EXPECT_EQ(tcgetsid(slave_), getsid(0));
    EXPECT_EQ(tcgetpgrp(slave_), getpgrp());
    EXPECT_OK(ioctl(slave_, TIOCSCTTY, 0)) << "again";
    EXPECT_EQ(RunInChild([&] { return ioctl(slave_, TIOCSCTTY, 0) == 0 ? 0 : errno; }), EPERM) << "no session leader";
    EXPECT_EQ(RunInChild([&] {
                setsid();
                EXPECT_ERRNO(EPERM, ioctl(slave_, TIOCSCTTY, 0)) << "another session has it";
                EXPECT_ERRNO(ENOTTY, tcgetpgrp(slave_));
                EXPECT_ERRNO(ENXIO, open("/dev/tty", O_RDWR));
                return 0;
              }),
              0);
    ScopedFd tty(open("/dev/tty", O_RDWR));
    EXPECT_EQ(tcgetpgrp(tty.get()), getpgrp());
  });
}

TEST_F(JobControlTest, OpeningTakesItUnlessRefused) {
  InSession(
      [&] {
        const std::string name = ttyname(slave_);
        ScopedFd refused(open(name.c_str(), O_RDWR | O_NOCTTY));
        EXPECT_ERRNO(ENOTTY, tcgetsid(refused.get()));
        ScopedFd taken(open(name.c_str(), O_RDWR));
        EXPECT_EQ(tcgetsid(taken.get()), getpid());
        EXPECT_OK(ioctl(taken.get(), TIOCNOTTY));
        EXPECT_ERRNO(ENOTTY, ioctl(taken.get(), TIOCNOTTY));
        EXPECT_ERRNO(ENXIO, open("/dev/tty", O_RDWR));
      },
      /*terminal=*/false);
}

TEST_F(JobControlTest, TheForegroundIsAGroupOfTheSession) {
  InSession([&] {
    const pid_t job = Background([] {
      for (;;) pause();
      return 0;
    });
    EXPECT_OK(tcsetpgrp(slave_, job));
    EXPECT_EQ(tcgetpgrp(slave_), job);
    signal(SIGTTOU, SIG_IGN);
    EXPECT_OK(tcsetpgrp(slave_, getpgrp()));
    EXPECT_ERRNO(EINVAL, tcsetpgrp(slave_, -1));
    EXPECT_ERRNO(ESRCH, tcsetpgrp(slave_, 0x3fffffff));
    EXPECT_ERRNO(EFAULT, ioctl(slave_, TIOCSPGRP, BadPointer()));
    int pipes[2];
    EXPECT_OK(pipe(pipes));
    const pid_t stranger = fork();
    if (stranger == 0) {
      setsid();
      (void)!write(pipes[1], "x", 1);
      for (;;) pause();
    }
    char byte;
    EXPECT_EQ(read(pipes[0], &byte, 1), 1);
    EXPECT_ERRNO(EPERM, tcsetpgrp(slave_, stranger)) << "of another session";
    End(stranger);
    End(job);
  });
}

TEST_F(JobControlTest, BackgroundChangesStop) {
  InSession([&] {
    const pid_t job = Background([&] { return tcsetpgrp(slave_, getpgrp()); });
    int status = StatusOf(job);
    EXPECT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU) << status;
    End(job);
    const pid_t settings = Background([&] {
      struct termios mode;
      return tcgetattr(slave_, &mode) == 0 ? tcsetattr(slave_, TCSANOW, &mode) : 3;
    });
    status = StatusOf(settings);
    EXPECT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU) << "settings too";
    End(settings);
    const pid_t ignoring = Background([&] {
      signal(SIGTTOU, SIG_IGN);
      return tcsetpgrp(slave_, getpgrp());
    });
    EXPECT_EQ(StatusOf(ignoring), 0);
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(slave_, getpgrp());
  });
}

TEST_F(JobControlTest, BackgroundReadersAndWriters) {
  InSession([&] {
    char byte;
    const pid_t reader = Background([&] { return static_cast<int>(read(slave_, &byte, 1)); });
    const int status = StatusOf(reader);
    EXPECT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN) << status;
    End(reader);
    const pid_t ignoring = Background([&] {
      signal(SIGTTIN, SIG_IGN);
      return read(slave_, &byte, 1) == -1 ? errno : 0;
    });
    EXPECT_EQ(StatusOf(ignoring), EIO << 8);
    const pid_t writer = Background([&] { return static_cast<int>(write(slave_, "w", 1)); });
    EXPECT_EQ(StatusOf(writer), 1 << 8) << "writing is free";
    struct termios mode;
    EXPECT_OK(tcgetattr(slave_, &mode));
    mode.c_lflag |= TOSTOP;
    EXPECT_OK(tcsetattr(slave_, TCSANOW, &mode));
    const pid_t stopped = Background([&] { return static_cast<int>(write(slave_, "w", 1)); });
    const int stop = StatusOf(stopped);
    EXPECT_TRUE(WIFSTOPPED(stop) && WSTOPSIG(stop) == SIGTTOU) << "unless it is told to stop";
    End(stopped);
    const pid_t deaf = Background([&] {
      signal(SIGTTOU, SIG_IGN);
      return static_cast<int>(write(slave_, "w", 1));
    });
    EXPECT_EQ(StatusOf(deaf), 1 << 8);
  });
}

TEST_F(JobControlTest, OrphansAreNotStopped) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  InSession([&] {
    // The middle process ends, so that nobody in the session could continue the reader.
    const pid_t middle = fork();
    if (middle == 0) {
      setpgid(0, 0);
      const pid_t parent = getpid();
      if (fork() == 0) {
        while (getppid() == parent) usleep(1000);  // how often we look: nothing tells an orphan that it is one
        char byte;
        int error = read(slave_, &byte, 1) == -1 ? errno : 0;
        raise(SIGTSTP);  // ignored in an orphaned group
        (void)!write(pipes[1], &error, sizeof(error));
        _exit(0);
      }
      _exit(0);
    }
    waitpid(middle, nullptr, 0);
    int error = 0;
    EXPECT_EQ(read(pipes[0], &error, sizeof(error)), static_cast<ssize_t>(sizeof(error)));
    EXPECT_EQ(error, EIO);
  });
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(JobControlTest, TheLeadersEndHangsUp) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  InSession([&] {
    static int out;
    out = pipes[1];
    const pid_t member = fork();
    if (member == 0) {
      signal(SIGHUP, [](int) {
        (void)!write(out, "H", 1);
        _exit(0);
      });
      (void)!write(out, "r", 1);
      for (;;) pause();
    }
    char byte;
    (void)!read(pipes[0], &byte, 1);
  });
  char byte = 0;
  EXPECT_EQ(read(pipes[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'H');
  EXPECT_EQ(write(slave_, "x", 1), 1) << "a pseudoterminal itself goes on";
  EXPECT_ERRNO(ENOTTY, tcgetsid(slave_));
  close(pipes[0]);
  close(pipes[1]);
}

}  // namespace
}  // namespace guest
