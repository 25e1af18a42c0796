// poll(2), ppoll(2), select(2), pselect(2).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>

#include "tests/util/sleeping.h"

namespace {

class PollTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(pipe(pipe_), 0); }
  void TearDown() override {
    close(pipe_[0]);
    close(pipe_[1]);
  }
  int pipe_[2];
};

int64_t ElapsedMs(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
}

TEST_F(PollTest, ReportsWhatIsReady) {
  pollfd fds[] = {{pipe_[0], POLLIN, 0}, {pipe_[1], POLLOUT, 0}, {-1, POLLIN, 7}};
  EXPECT_EQ(poll(fds, 3, -1), 1);
  EXPECT_EQ(fds[0].revents, 0);
  EXPECT_EQ(fds[1].revents, POLLOUT);
  EXPECT_EQ(fds[2].revents, 0);
  ASSERT_EQ(write(pipe_[1], "x", 1), 1);
  EXPECT_EQ(poll(fds, 3, -1), 2);
  EXPECT_EQ(fds[0].revents, POLLIN);
}

TEST_F(PollTest, BadDescriptorsAreInvalid) {
  pollfd fds[] = {{9999, POLLIN, 0}, {pipe_[0], POLLIN, 0}};
  EXPECT_EQ(poll(fds, 2, -1), 1);
  EXPECT_EQ(fds[0].revents, POLLNVAL);
}

TEST_F(PollTest, RegularFilesAreAlwaysReady) {
  const int fd = open("/proc/self/exe", O_RDONLY);
  pollfd request = {fd, POLLIN | POLLOUT, 0};
  EXPECT_EQ(poll(&request, 1, -1), 1);
  EXPECT_EQ(request.revents, POLLIN | POLLOUT);
  close(fd);
}

TEST_F(PollTest, TimesOut) {
  pollfd request = {pipe_[0], POLLIN, 0};
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(poll(&request, 1, 50), 0);
  EXPECT_GE(ElapsedMs(start), 50);
  EXPECT_EQ(poll(nullptr, 0, 1), 0);
}

TEST_F(PollTest, ChecksArguments) {
  EXPECT_EQ(poll(reinterpret_cast<pollfd*>(8), 1, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(poll(nullptr, limit.rlim_cur + 1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  const timespec bad = {0, 1'000'000'000};
  EXPECT_EQ(syscall(SYS_ppoll, nullptr, 0, &bad, nullptr, 8), -1);
  EXPECT_EQ(errno, EINVAL);
  sigset_t set;
  EXPECT_EQ(syscall(SYS_ppoll, nullptr, 0, nullptr, &set, 4), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(PollTest, WokenByAnotherThread) {
  guest::WhenAsleepIn writer(SYS_poll, [&] { (void)!write(pipe_[1], "x", 1); });
  pollfd request = {pipe_[0], POLLIN, 0};
  EXPECT_EQ(poll(&request, 1, -1), 1);
}

void Nothing(int) {}

TEST_F(PollTest, HandlersEndTheWait) {
  struct sigaction action = {};
  action.sa_handler = Nothing;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  guest::WhenAsleepIn later(SYS_poll, [] { kill(getpid(), SIGALRM); });
  pollfd request = {pipe_[0], POLLIN, 0};
  EXPECT_EQ(poll(&request, 1, -1), -1);
  EXPECT_EQ(errno, EINTR);
  signal(SIGALRM, SIG_DFL);
}

TEST_F(PollTest, PpollWritesBackTheRest) {
  ASSERT_EQ(write(pipe_[1], "x", 1), 1);
  pollfd request = {pipe_[0], POLLIN, 0};
  timespec timeout = {1000, 0};
  EXPECT_EQ(syscall(SYS_ppoll, &request, 1, &timeout, nullptr, 8), 1);
  EXPECT_LT(timeout.tv_sec, 1000);
  EXPECT_GT(timeout.tv_sec, 900);
}

TEST_F(PollTest, PpollLetsABlockedSignalIn) {
  struct sigaction action = {};
  action.sa_handler = Nothing;
  sigaction(SIGUSR1, &action, nullptr);
  sigset_t blocked, empty, old;
  sigemptyset(&empty);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, &old);
  raise(SIGUSR1);
  pollfd request = {pipe_[0], POLLIN, 0};
  EXPECT_EQ(ppoll(&request, 1, nullptr, &empty), -1);
  EXPECT_EQ(errno, EINTR);
  sigset_t now;
  sigprocmask(SIG_SETMASK, &old, &now);
  EXPECT_TRUE(sigismember(&now, SIGUSR1));
  signal(SIGUSR1, SIG_DFL);
}

TEST_F(PollTest, SelectSetsAndClears) {
  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(pipe_[0], &in);
  FD_SET(pipe_[1], &out);
  EXPECT_EQ(select(pipe_[1] + 1, &in, &out, nullptr, nullptr), 1);
  EXPECT_FALSE(FD_ISSET(pipe_[0], &in));
  EXPECT_TRUE(FD_ISSET(pipe_[1], &out));
  ASSERT_EQ(write(pipe_[1], "x", 1), 1);
  FD_SET(pipe_[0], &in);
  EXPECT_EQ(select(pipe_[1] + 1, &in, &out, nullptr, nullptr), 2);
}

TEST_F(PollTest, SelectTimesOutAndWritesBack) {
  timeval timeout = {0, 30000};
  fd_set in;
  FD_ZERO(&in);
  FD_SET(pipe_[0], &in);
  EXPECT_EQ(select(pipe_[0] + 1, &in, nullptr, nullptr, &timeout), 0);
  EXPECT_EQ(timeout.tv_sec, 0);
  EXPECT_EQ(timeout.tv_usec, 0);
  EXPECT_FALSE(FD_ISSET(pipe_[0], &in));
}

TEST_F(PollTest, SelectChecksArguments) {
  EXPECT_EQ(select(-1, nullptr, nullptr, nullptr, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  timeval bad = {-1, 0};
  EXPECT_EQ(select(0, nullptr, nullptr, nullptr, &bad), -1);
  EXPECT_EQ(errno, EINVAL);
  const int closed = dup(0);
  close(closed);
  fd_set in;
  FD_ZERO(&in);
  FD_SET(closed, &in);
  timeval zero = {0, 0};
  EXPECT_EQ(select(closed + 1, &in, nullptr, nullptr, &zero), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(select(64, reinterpret_cast<fd_set*>(8), nullptr, nullptr, &zero), -1);
  EXPECT_EQ(errno, EFAULT);
}

}  // namespace
