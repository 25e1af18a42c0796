// Many calls of several threads and processes at once, more than there are processors: that each is answered rightly
// and in order, and that where threads may run is what they asked for meanwhile.
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/hot_calls.h"  // makes the call sites of this program worth rewriting

namespace {

struct Pair {
  Pair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0); }
  ~Pair() {
    for (const int end : ends) close(end);
  }
  std::array<int, 2> ends;
};

// Echoes what comes on any of its connections, by epoll, until all are closed. 0, or the line that failed.
int Serve(const std::vector<int>& connections) {
  const int set = epoll_create1(0);
  if (set < 0) return __LINE__;
  for (const int connection : connections) {
    epoll_event event = {.events = EPOLLIN, .data = {.fd = connection}};
    if (epoll_ctl(set, EPOLL_CTL_ADD, connection, &event) != 0) return __LINE__;
  }
  for (size_t open = connections.size(); open != 0;) {
    epoll_event events[16];
    const int count = epoll_wait(set, events, 16, -1);
    if (count < 0) return __LINE__;
    for (int i = 0; i < count; ++i) {
      uint64_t number = 0;
      const ssize_t got = read(events[i].data.fd, &number, sizeof(number));
      if (got == 0) {
        --open;
        if (epoll_ctl(set, EPOLL_CTL_DEL, events[i].data.fd, nullptr) != 0) return __LINE__;
      } else if (got != sizeof(number) || write(events[i].data.fd, &number, sizeof(number)) != got) {
        return __LINE__;
      }
    }
  }
  close(set);
  return 0;
}

TEST(BusyCallersTest, ServerOfManyConnections) {
  constexpr int kConnections = 20, kRounds = 500;
  std::array<Pair, kConnections> pairs;
  const pid_t server = fork();
  ASSERT_GE(server, 0);
  if (server == 0) {
    std::vector<int> connections;
    for (const Pair& pair : pairs) {
      close(pair.ends[0]);
      connections.push_back(pair.ends[1]);
    }
    _exit(Serve(connections) == 0 ? 0 : 1);
  }
  for (uint64_t round = 0; round < kRounds; ++round) {
    for (uint64_t i = 0; i < kConnections; ++i) {
      const uint64_t number = round * kConnections + i;
      ASSERT_EQ(write(pairs[i].ends[0], &number, sizeof(number)), ssize_t{sizeof(number)});
    }
    for (uint64_t i = 0; i < kConnections; ++i) {
      uint64_t number = 0;
      ASSERT_EQ(read(pairs[i].ends[0], &number, sizeof(number)), ssize_t{sizeof(number)});
      ASSERT_EQ(number, round * kConnections + i);
    }
  }
  for (Pair& pair : pairs) {
    close(pair.ends[0]);
    close(pair.ends[1]);
    pair.ends = {-1, -1};
  }
  int status = 0;
  ASSERT_EQ(waitpid(server, &status, 0), server);
  EXPECT_EQ(status, 0);
}

// Threads that call all the time, as long as this lives.
class Callers {
 public:
  explicit Callers(int count) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this] {
        while (!stop_.load(std::memory_order_relaxed)) {
          if (lseek(0, 0, 77) != -1 || (errno != EINVAL && errno != ESPIPE && errno != EBADF)) wrong_ = true;
          calls_.fetch_add(1, std::memory_order_relaxed);
        }
      });
    }
  }
  ~Callers() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    EXPECT_FALSE(wrong_);
  }
  // Until this many more calls were made.
  void Await(uint64_t calls) const {
    const uint64_t end = calls_.load() + calls;
    while (calls_.load() < end) sched_yield();
  }

 private:
  std::atomic<bool> stop_{false}, wrong_{false};
  std::atomic<uint64_t> calls_{0};
  std::vector<std::thread> threads_;
};

TEST(BusyCallersTest, AffinityThatIsSetMeanwhile) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
  const Callers callers(2);
  callers.Await(10'000);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    for (int i = 0; i < 20'000; ++i) {
      ASSERT_EQ(lseek(0, 0, 77), -1);
      ASSERT_EQ(sched_getcpu(), cpu) << i;
    }
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
  cpu_set_t now;
  ASSERT_EQ(sched_getaffinity(0, sizeof(now), &now), 0);
  EXPECT_TRUE(CPU_EQUAL(&now, &all));
}

TEST(BusyCallersTest, ChildrenAndSignalsMeanwhile) {
  static std::atomic<int> handled;
  struct sigaction action = {}, old;
  action.sa_handler = [](int) { ++handled; };
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGUSR1, &action, &old), 0);
  handled = 0;
  const Callers callers(2);
  for (int i = 0; i < 20; ++i) {
    callers.Await(100);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int n = 0; n < 200; ++n) {
        if (lseek(0, 0, 77) != -1) _exit(1);
      }
      _exit(kill(getppid(), SIGUSR1) == 0 ? 0 : 2);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
  // The signal of a child is sent before its end, and taken by one of several threads.
  while (handled == 0) sched_yield();
  ASSERT_EQ(sigaction(SIGUSR1, &old, nullptr), 0);
}

}  // namespace
