// Waiting for many descriptors at once.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <vector>

#include "bench/guest/harness.h"

namespace sandbox::bench {
namespace {

std::vector<int> Counters(int count) {
  std::vector<int> fds;
  for (int i = 0; i < count; ++i) {
    fds.push_back(::eventfd(0, 0));
    Must(fds.back() >= 0, "eventfd");
  }
  return fds;
}

}  // namespace

GUEST_BENCHMARK("readiness", "epoll_wait_ready") {
  const int counter = ::eventfd(1, 0), epoll = ::epoll_create1(0);
  epoll_event event = {.events = EPOLLIN, .data = {}};
  Must(counter >= 0 && ::epoll_ctl(epoll, EPOLL_CTL_ADD, counter, &event) == 0, "epoll_ctl");
  run.Loop([&] { Must(::epoll_wait(epoll, &event, 1, 1000) == 1, "epoll_wait"); });
}

GUEST_BENCHMARK("readiness", "epoll_wait_empty") {
  const int counter = ::eventfd(0, 0), epoll = ::epoll_create1(0);
  epoll_event event = {.events = EPOLLIN, .data = {}};
  Must(counter >= 0 && ::epoll_ctl(epoll, EPOLL_CTL_ADD, counter, &event) == 0, "epoll_ctl");
  run.Loop([&] { Must(::epoll_wait(epoll, &event, 1, 0) == 0, "epoll_wait"); });
}

GUEST_BENCHMARK("readiness", "epoll_ctl_add_del") {
  const int counter = ::eventfd(0, 0), epoll = ::epoll_create1(0);
  epoll_event event = {.events = EPOLLIN, .data = {}};
  run.Loop([&] {
    Must(::epoll_ctl(epoll, EPOLL_CTL_ADD, counter, &event) == 0, "epoll_ctl");
    Must(::epoll_ctl(epoll, EPOLL_CTL_DEL, counter, &event) == 0, "epoll_ctl");
  });
}

GUEST_BENCHMARK("readiness", "poll_100") {
  std::vector<pollfd> polled;
  for (const int fd : Counters(100)) polled.push_back({fd, POLLIN, 0});
  const uint64_t one = 1;
  Must(::write(polled[50].fd, &one, sizeof one) == sizeof one, "write");
  run.Loop([&] { Must(::poll(polled.data(), polled.size(), 1000) == 1, "poll"); });
}

}  // namespace sandbox::bench
