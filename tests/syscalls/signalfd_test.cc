// signalfd(2).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/sleeping.h"

namespace {

class SignalfdTest : public ::testing::Test {
 protected:
  void SetUp() override {
    sigemptyset(&set_);
    sigaddset(&set_, SIGUSR1);
    sigaddset(&set_, SIGUSR2);
    ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set_, &old_), 0);
    fd_ = signalfd(-1, &set_, SFD_NONBLOCK | SFD_CLOEXEC);
    ASSERT_GE(fd_, 0);
  }
  void TearDown() override {
    close(fd_);
    pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  }
  sigset_t set_, old_;
  int fd_;
};

TEST_F(SignalfdTest, ReadsPendingSignals) {
  kill(getpid(), SIGUSR1);
  kill(getpid(), SIGUSR2);
  signalfd_siginfo info[4];
  ASSERT_EQ(read(fd_, info, sizeof(info)), static_cast<ssize_t>(2 * sizeof(info[0])));
  EXPECT_EQ(info[0].ssi_signo, static_cast<uint32_t>(SIGUSR1));
  EXPECT_EQ(info[0].ssi_pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(info[0].ssi_uid, getuid());
  EXPECT_EQ(info[1].ssi_signo, static_cast<uint32_t>(SIGUSR2));
  EXPECT_EQ(read(fd_, info, sizeof(info)), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(SignalfdTest, CarriesValues) {
  sigqueue(getpid(), SIGUSR1, sigval{.sival_int = 77});
  signalfd_siginfo info;
  ASSERT_EQ(read(fd_, &info, sizeof(info)), static_cast<ssize_t>(sizeof(info)));
  EXPECT_EQ(info.ssi_int, 77);
  EXPECT_EQ(info.ssi_code, SI_QUEUE);
}

TEST_F(SignalfdTest, PollsAndBlocks) {
  pollfd request = {fd_, POLLIN, 0};
  EXPECT_EQ(poll(&request, 1, 0), 0);
  const pthread_t self = pthread_self();
  guest::WhenAsleepIn sender(SYS_poll, [&] { pthread_kill(self, SIGUSR2); });
  EXPECT_EQ(poll(&request, 1, -1), 1);
  signalfd_siginfo info;
  EXPECT_EQ(read(fd_, &info, sizeof(info)), static_cast<ssize_t>(sizeof(info)));
}

TEST_F(SignalfdTest, WakesEpoll) {
  const int set = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, fd_, &event), 0);
  guest::WhenAsleepIn sender(SYS_epoll_wait, [] { kill(getpid(), SIGUSR1); });
  EXPECT_EQ(epoll_wait(set, &event, 1, -1), 1);
  signalfd_siginfo info;
  EXPECT_EQ(read(fd_, &info, sizeof(info)), static_cast<ssize_t>(sizeof(info)));
  close(set);
}

TEST_F(SignalfdTest, MaskCanBeChanged) {
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGUSR2);
  EXPECT_EQ(signalfd(fd_, &only, 0), fd_);
  kill(getpid(), SIGUSR1);
  signalfd_siginfo info;
  EXPECT_EQ(read(fd_, &info, sizeof(info)), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(signalfd(fd_, &set_, 0), fd_);
  EXPECT_EQ(read(fd_, &info, sizeof(info)), static_cast<ssize_t>(sizeof(info)));
}

TEST_F(SignalfdTest, ChecksArguments) {
  char small[16];
  EXPECT_EQ(read(fd_, small, sizeof(small)), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(signalfd(0, &set_, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_signalfd4, -1, &set_, 4, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_signalfd4, -1, &set_, 8, 1), -1);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
