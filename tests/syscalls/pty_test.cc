// pty(7), termios(3), ioctl_tty(2): pseudo terminals and job control on them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <string>

namespace {

class PtyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    master_ = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(master_, 0);
    ASSERT_EQ(grantpt(master_), 0);
    ASSERT_EQ(unlockpt(master_), 0);
    name_ = ptsname(master_);
    slave_ = open(name_.c_str(), O_RDWR | O_NOCTTY);
    ASSERT_GE(slave_, 0);
  }
  void TearDown() override {
    if (slave_ >= 0) close(slave_);
    if (master_ >= 0) close(master_);
  }
  void Type(const std::string& text) {
    ASSERT_EQ(write(master_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string Read(int fd) {
    char buffer[4096];
    pollfd request = {fd, POLLIN, 0};
    if (poll(&request, 1, 2000) != 1) return "(timeout)";
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    return n < 0 ? "(error)" : std::string(buffer, n);
  }
  void Raw() {
    termios t;
    ASSERT_EQ(tcgetattr(slave_, &t), 0);
    cfmakeraw(&t);
    ASSERT_EQ(tcsetattr(slave_, TCSANOW, &t), 0);
  }

  int master_ = -1, slave_ = -1;
  std::string name_;
};

TEST_F(PtyTest, LinesEchoAndNewlines) {
  Type("hello\r");
  EXPECT_EQ(Read(slave_), "hello\n");
  EXPECT_EQ(Read(master_), "hello\r\n");
  ASSERT_EQ(write(slave_, "out\n", 4), 4);
  EXPECT_EQ(Read(master_), "out\r\n");
}

TEST_F(PtyTest, EditingAndEndOfFile) {
  Type(
      "abx\x7f"
      "c\n");
  EXPECT_EQ(Read(slave_), "abc\n");
  Type("\x04");
  EXPECT_EQ(Read(slave_), "");
}

TEST_F(PtyTest, RawModePassesBytes) {
  Raw();
  Type("\x03\r");
  EXPECT_EQ(Read(slave_), "\x03\r");
  ASSERT_EQ(write(slave_, "a\n", 2), 2);
  EXPECT_EQ(Read(master_), "a\n");
}

TEST_F(PtyTest, MinAndTime) {
  Raw();
  termios t;
  tcgetattr(slave_, &t);
  t.c_cc[VMIN] = 0;
  t.c_cc[VTIME] = 0;
  tcsetattr(slave_, TCSANOW, &t);
  char buffer[8];
  EXPECT_EQ(read(slave_, buffer, sizeof(buffer)), 0);
  t.c_cc[VTIME] = 1;
  tcsetattr(slave_, TCSANOW, &t);
  EXPECT_EQ(read(slave_, buffer, sizeof(buffer)), 0);
  t.c_cc[VMIN] = 3;
  t.c_cc[VTIME] = 0;
  tcsetattr(slave_, TCSANOW, &t);
  Type("ab");
  pollfd request = {slave_, POLLIN, 0};
  EXPECT_EQ(poll(&request, 1, 50), 0);
  Type("c");
  EXPECT_EQ(read(slave_, buffer, sizeof(buffer)), 3);
}

TEST_F(PtyTest, WindowSize) {
  winsize size = {24, 80, 0, 0};
  ASSERT_EQ(ioctl(master_, TIOCSWINSZ, &size), 0);
  winsize got{};
  ASSERT_EQ(ioctl(slave_, TIOCGWINSZ, &got), 0);
  EXPECT_EQ(got.ws_row, 24);
  EXPECT_EQ(got.ws_col, 80);
}

TEST_F(PtyTest, NamesAndModes) {
  unsigned number;
  ASSERT_EQ(ioctl(master_, TIOCGPTN, &number), 0);
  EXPECT_EQ(name_, "/dev/pts/" + std::to_string(number));
  EXPECT_TRUE(isatty(slave_));
  EXPECT_STREQ(ttyname(slave_), name_.c_str());
  struct stat st;
  ASSERT_EQ(fstat(slave_, &st), 0);
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  EXPECT_EQ(lseek(slave_, 0, SEEK_SET), -1);
  EXPECT_EQ(errno, ESPIPE);
}

TEST_F(PtyTest, SlaveGone) {
  close(slave_);
  slave_ = -1;
  char c;
  EXPECT_EQ(read(master_, &c, 1), -1);
  EXPECT_EQ(errno, EIO);
  pollfd request = {master_, POLLIN, 0};
  EXPECT_EQ(poll(&request, 1, 0), 1);
  EXPECT_TRUE(request.revents & POLLHUP);
}

TEST_F(PtyTest, MasterGone) {
  close(master_);
  master_ = -1;
  char c;
  EXPECT_EQ(read(slave_, &c, 1), 0);
  EXPECT_EQ(write(slave_, "x", 1), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(open(name_.c_str(), O_RDWR | O_NOCTTY), -1);
}

TEST_F(PtyTest, LockedSlavesDoNotOpen) {
  const int other = posix_openpt(O_RDWR | O_NOCTTY);
  EXPECT_EQ(open(ptsname(other), O_RDWR | O_NOCTTY), -1);
  EXPECT_EQ(errno, EIO);
  close(other);
}

TEST_F(PtyTest, FlushDropsInput) {
  Type("typed\n");
  EXPECT_EQ(tcflush(slave_, TCIFLUSH), 0);
  fcntl(slave_, F_SETFL, O_RDWR | O_NONBLOCK);
  char c;
  EXPECT_EQ(read(slave_, &c, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
}

// Runs `body` in a child whose controlling terminal is the slave; returns its wait status.
template <typename Body>
pid_t InSession(int slave, Body body) {
  const pid_t child = fork();
  if (child != 0) return child;
  setsid();
  if (ioctl(slave, TIOCSCTTY, 0) != 0) _exit(100);
  body();
  _exit(0);
}

TEST_F(PtyTest, InterruptReachesTheForeground) {
  const pid_t child = InSession(slave_, [&] {
    (void)!write(slave_, "ready\n", 6);
    for (;;) pause();
  });
  EXPECT_EQ(Read(master_), "ready\r\n");
  Type("\x03");
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

TEST_F(PtyTest, SessionAndForegroundGroup) {
  const pid_t child = InSession(slave_, [&] {
    if (tcgetsid(slave_) != getpid()) _exit(1);
    if (tcgetpgrp(slave_) != getpgrp()) _exit(2);
    const int tty = open("/dev/tty", O_RDWR);
    if (tty < 0 || tcgetpgrp(tty) != getpgrp()) _exit(3);
    if (ioctl(tty, TIOCNOTTY) != 0) _exit(4);
    signal(SIGHUP, SIG_IGN);
    if (open("/dev/tty", O_RDWR) != -1 || errno != ENXIO) _exit(5);
  });
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  // Giving up the terminal hangs up the foreground group, which the child leads.
  EXPECT_TRUE((WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
  EXPECT_EQ(tcgetpgrp(slave_), -1);
  EXPECT_EQ(errno, ENOTTY);
}

TEST_F(PtyTest, BackgroundReadersStop) {
  const pid_t child = InSession(slave_, [&] {
    const pid_t job = fork();
    if (job == 0) {
      setpgid(0, 0);
      char c;
      (void)!read(slave_, &c, 1);
      _exit(0);
    }
    setpgid(job, job);
    int status;
    if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTTIN) _exit(1);
    signal(SIGTTOU, SIG_IGN);
    if (tcsetpgrp(slave_, job) != 0) _exit(2);
    kill(job, SIGCONT);
    (void)!write(slave_, "go\n", 3);
    if (waitpid(job, &status, 0) != job || !WIFEXITED(status)) _exit(3);
    tcsetpgrp(slave_, getpgrp());
  });
  EXPECT_EQ(Read(master_), "go\r\n");
  Type("x\n");
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(PtyTest, ResizeSignals) {
  const pid_t child = InSession(slave_, [&] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    (void)!write(slave_, "ready\n", 6);
    int signo;
    sigwait(&set, &signo);
  });
  EXPECT_EQ(Read(master_), "ready\r\n");
  const winsize size = {10, 20, 0, 0};
  ASSERT_EQ(ioctl(master_, TIOCSWINSZ, &size), 0);
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// struct termio of asm-generic/termios.h.
struct OldSettings {
  unsigned short iflag, oflag, cflag, lflag;
  unsigned char line, cc[8];
};

TEST_F(PtyTest, OldSettings) {
  OldSettings old = {};
  ASSERT_EQ(ioctl(slave_, TCGETA, &old), 0);
  EXPECT_TRUE(old.lflag & ICANON);
  EXPECT_EQ(old.cc[VINTR], 3);
  old.lflag = static_cast<unsigned short>(old.lflag & ~ECHO);
  old.cc[VINTR] = 24;
  ASSERT_EQ(ioctl(slave_, TCSETA, &old), 0);
  termios now;
  ASSERT_EQ(tcgetattr(slave_, &now), 0);
  EXPECT_FALSE(now.c_lflag & ECHO);
  EXPECT_TRUE(now.c_lflag & IEXTEN);
  EXPECT_EQ(now.c_cc[VINTR], 24);
  EXPECT_EQ(now.c_cc[VSUSP], 26) << "it has no room for that";
  EXPECT_EQ(ioctl(slave_, TCGETA, nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
  int carrier = 1;
  EXPECT_EQ(ioctl(slave_, TIOCSSOFTCAR, &carrier), 0);
  ASSERT_EQ(tcgetattr(slave_, &now), 0);
  EXPECT_TRUE(now.c_cflag & CLOCAL);
  carrier = 0;
  EXPECT_EQ(ioctl(slave_, TIOCGSOFTCAR, &carrier), 0);
  EXPECT_EQ(carrier, 1);
  EXPECT_EQ(ioctl(slave_, TIOCSBRK), 0);
  EXPECT_EQ(ioctl(slave_, TIOCCBRK), 0);
}

TEST_F(PtyTest, TypedByAnAdministrator) {
  if (geteuid() != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  for (char c : {'h', 'i', '\n'}) ASSERT_EQ(ioctl(slave_, TIOCSTI, &c), 0);
  EXPECT_EQ(Read(slave_), "hi\n");
}

TEST_F(PtyTest, MarkedBytesComeTwice) {
  termios now;
  ASSERT_EQ(tcgetattr(slave_, &now), 0);
  now.c_iflag |= PARMRK;
  now.c_lflag &= ~(ICANON | ECHO);
  ASSERT_EQ(tcsetattr(slave_, TCSANOW, &now), 0);
  Type(
      "a\xff"
      "b");
  std::string got;
  while (got.size() < 4) got += Read(slave_);
  EXPECT_EQ(got,
            "a\xff\xff"
            "b");
}

}  // namespace
