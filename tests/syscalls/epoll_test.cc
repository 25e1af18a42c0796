// epoll(7).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/util/sleeping.h"

namespace {

class EpollTest : public ::testing::Test {
 protected:
  void SetUp() override {
    set_ = epoll_create1(EPOLL_CLOEXEC);
    ASSERT_GE(set_, 0);
    ASSERT_EQ(pipe2(pipe_, O_NONBLOCK), 0);
  }
  void TearDown() override {
    for (const int fd : {set_, pipe_[0], pipe_[1]}) {
      if (fd >= 0) close(fd);
    }
  }
  int Control(int op, int fd, uint32_t events, uint64_t data = 0) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    return epoll_ctl(set_, op, fd, &event);
  }
  int Wait(int timeout = 0) { return epoll_wait(set_, events_, 8, timeout); }
  void Write(const char* text) { ASSERT_GT(write(pipe_[1], text, strlen(text)), 0); }
  void Drain() {
    char buffer[256];
    while (read(pipe_[0], buffer, sizeof(buffer)) > 0) {
    }
  }

  int set_ = -1;
  int pipe_[2] = {-1, -1};
  epoll_event events_[8] = {};
};

TEST_F(EpollTest, LevelTriggeredRepeats) {
  ASSERT_EQ(Control(EPOLL_CTL_ADD, pipe_[0], EPOLLIN, 42), 0);
  EXPECT_EQ(Wait(), 0);
  Write("x");
  EXPECT_EQ(Wait(), 1);
  EXPECT_EQ(events_[0].events, static_cast<uint32_t>(EPOLLIN));
  EXPECT_EQ(events_[0].data.u64, 42u);
  EXPECT_EQ(Wait(), 1);
  Drain();
  EXPECT_EQ(Wait(), 0);
}

TEST_F(EpollTest, EdgeTriggeredOncePerArrival) {
  ASSERT_EQ(Control(EPOLL_CTL_ADD, pipe_[0], EPOLLIN | EPOLLET), 0);
  Write("x");
  EXPECT_EQ(Wait(), 1);
  EXPECT_EQ(Wait(), 0);
  Write("y");
  EXPECT_EQ(Wait(), 1);
  EXPECT_EQ(Wait(), 0);
}

TEST_F(EpollTest, OneShotNeedsModify) {
  ASSERT_EQ(Control(EPOLL_CTL_ADD, pipe_[0], EPOLLIN | EPOLLONESHOT), 0);
  Write("x");
  EXPECT_EQ(Wait(), 1);
  Write("y");
  EXPECT_EQ(Wait(), 0);
  ASSERT_EQ(Control(EPOLL_CTL_MOD, pipe_[0], EPOLLIN | EPOLLONESHOT), 0);
  EXPECT_EQ(Wait(), 1);
}

TEST_F(EpollTest, ModifyAndRemove) {
  ASSERT_EQ(Control(EPOLL_CTL_ADD, pipe_[1], EPOLLOUT), 0);
  EXPECT_EQ(Wait(), 1);
  ASSERT_EQ(Control(EPOLL_CTL_MOD, pipe_[1], 0), 0);
  EXPECT_EQ(Wait(), 0);
  ASSERT_EQ(Control(EPOLL_CTL_DEL, pipe_[1], 0), 0);
  EXPECT_EQ(Control(EPOLL_CTL_DEL, pipe_[1], 0), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(Control(EPOLL_CTL_MOD, pipe_[1], EPOLLIN), -1);
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(EpollTest, ChecksArguments) {
  EXPECT_EQ(epoll_create1(1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(epoll_create(0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Control(EPOLL_CTL_ADD, set_, EPOLLIN), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Control(77, pipe_[0], EPOLLIN), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Control(EPOLL_CTL_ADD, 9999, EPOLLIN), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(epoll_ctl(pipe_[0], EPOLL_CTL_ADD, pipe_[1], events_), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(epoll_ctl(set_, EPOLL_CTL_ADD, pipe_[0], reinterpret_cast<epoll_event*>(8)), -1);
  EXPECT_EQ(errno, EFAULT);
  ASSERT_EQ(Control(EPOLL_CTL_ADD, pipe_[0], EPOLLIN), 0);
  EXPECT_EQ(Control(EPOLL_CTL_ADD, pipe_[0], EPOLLIN), -1);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(epoll_wait(set_, events_, 0, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(epoll_wait(pipe_[0], events_, 1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(EpollTest, RegularFilesAreRefused) {
  const int null = open("/dev/null", O_RDONLY);
  EXPECT_EQ(Control(EPOLL_CTL_ADD, null, EPOLLIN), -1);
  EXPECT_EQ(errno, EPERM);
  close(null);
  const int file = open("/proc/self/exe", O_RDONLY);
  EXPECT_EQ(Control(EPOLL_CTL_ADD, file, EPOLLIN), -1);
  EXPECT_EQ(errno, EPERM);
  close(file);
}

TEST_F(EpollTest, ClosedFilesLeave) {
  const int copy = dup(pipe_[0]);
  ASSERT_EQ(Control(EPOLL_CTL_ADD, copy, EPOLLIN), 0);
  Write("x");
  close(copy);
  EXPECT_EQ(Wait(), 1);  // the description lives on
  close(pipe_[0]);
  pipe_[0] = -1;
  EXPECT_EQ(Wait(), 0);
}

TEST_F(EpollTest, HangUpIsAlwaysReported) {
  ASSERT_EQ(Control(EPOLL_CTL_ADD, pipe_[0], 0), 0);
  close(pipe_[1]);
  pipe_[1] = -1;
  ASSERT_EQ(Wait(1000), 1);
  EXPECT_EQ(events_[0].events, static_cast<uint32_t>(EPOLLHUP));
}

TEST_F(EpollTest, SetsNest) {
  const int outer = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(outer, EPOLL_CTL_ADD, set_, &event), 0);
  ASSERT_EQ(Control(EPOLL_CTL_ADD, pipe_[0], EPOLLIN), 0);
  EXPECT_EQ(epoll_wait(outer, events_, 8, 0), 0);
  Write("x");
  EXPECT_EQ(epoll_wait(outer, events_, 8, 1000), 1);
  Drain();
  EXPECT_EQ(epoll_wait(outer, events_, 8, 0), 0);
  EXPECT_EQ(Control(EPOLL_CTL_ADD, outer, EPOLLIN), -1);
  EXPECT_EQ(errno, ELOOP);
  close(outer);
}

// A set, and at most four below it.
TEST_F(EpollTest, DepthIsLimited) {
  epoll_event event{};
  event.events = EPOLLIN;
  int inner = set_;
  for (int depth = 1; depth <= 4; ++depth) {
    const int outer = epoll_create1(0);
    ASSERT_EQ(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event), 0) << depth;
    inner = outer;
  }
  const int outer = epoll_create1(0);
  EXPECT_EQ(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event), -1);
  EXPECT_EQ(errno, ELOOP);
}

TEST_F(EpollTest, WaitsForAnotherThread) {
  ASSERT_EQ(Control(EPOLL_CTL_ADD, pipe_[0], EPOLLIN), 0);
  guest::WhenAsleepIn writer(SYS_epoll_wait, [&] { (void)!write(pipe_[1], "x", 1); });
  EXPECT_EQ(Wait(-1), 1);
}

TEST_F(EpollTest, AddedWhileWaiting) {
  Write("x");
  guest::WhenAsleepIn adder(SYS_epoll_wait, [&] { Control(EPOLL_CTL_ADD, pipe_[0], EPOLLIN); });
  EXPECT_EQ(Wait(-1), 1);
}

void Nothing(int) {}

TEST_F(EpollTest, SignalEndsTheWaitEvenWithRestart) {
  struct sigaction action = {};
  action.sa_handler = Nothing;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  guest::WhenAsleepIn later(SYS_epoll_wait, [] { kill(getpid(), SIGALRM); });
  EXPECT_EQ(Wait(-1), -1);
  EXPECT_EQ(errno, EINTR);
  signal(SIGALRM, SIG_DFL);
}

TEST_F(EpollTest, PwaitAppliesTheMask) {
  struct sigaction action = {};
  action.sa_handler = Nothing;
  sigaction(SIGUSR1, &action, nullptr);
  sigset_t blocked, empty;
  sigemptyset(&empty);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  raise(SIGUSR1);
  EXPECT_EQ(epoll_pwait(set_, events_, 8, 5000, &empty), -1);
  EXPECT_EQ(errno, EINTR);
  sigset_t now;
  sigprocmask(SIG_UNBLOCK, &blocked, &now);
  EXPECT_TRUE(sigismember(&now, SIGUSR1));
  signal(SIGUSR1, SIG_DFL);
}

TEST_F(EpollTest, MoreReadyThanAskedForRotate) {
  std::vector<int> fds;
  for (int i = 0; i < 4; ++i) {
    fds.push_back(eventfd(1, 0));
    ASSERT_EQ(Control(EPOLL_CTL_ADD, fds.back(), EPOLLIN, i), 0);
  }
  unsigned seen = 0;
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(epoll_wait(set_, events_, 1, 0), 1);
    seen |= 1u << events_[0].data.u64;
  }
  EXPECT_EQ(seen, 0xfu);
  for (const int fd : fds) close(fd);
}

TEST_F(EpollTest, ManyThreadsShareTheWork) {
  const int counter = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
  ASSERT_EQ(Control(EPOLL_CTL_ADD, counter, EPOLLIN), 0);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      epoll_event event;
      while (taken < 300) {
        uint64_t value;
        if (epoll_wait(set_, &event, 1, 100) == 1 && read(counter, &value, 8) == 8) ++taken;
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    const uint64_t one = 1;
    ASSERT_EQ(write(counter, &one, 8), 8);
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(taken, 300);
  close(counter);
}

TEST_F(EpollTest, OneCallReturnsAsManyEventsAsAreAskedFor) {
  constexpr int kWatches = 1500;
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit raised{std::max<rlim_t>(limit.rlim_cur, kWatches + 100), limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &raised), 0) << "needs " << raised.rlim_cur << " descriptors";
  Write("x");
  std::vector<int> copies;
  for (int i = 0; i < kWatches; ++i) {
    copies.push_back(dup(pipe_[0]));
    ASSERT_GE(copies.back(), 0);
    ASSERT_EQ(Control(EPOLL_CTL_ADD, copies.back(), EPOLLIN, i), 0);
  }
  std::vector<epoll_event> events(2 * kWatches);
  EXPECT_EQ(epoll_wait(set_, events.data(), 2 * kWatches, 0), kWatches);
  EXPECT_EQ(epoll_wait(set_, events.data(), kWatches - 1, 0), kWatches - 1);
  for (const int fd : copies) close(fd);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

}  // namespace
