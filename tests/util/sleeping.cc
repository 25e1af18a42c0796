#include "tests/util/sleeping.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <time.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <utility>

namespace guest {
namespace {

// The first bytes of /proc/TID/`name`, as a string; empty when the thread is gone or not ours to see.
void ReadTaskFile(pid_t tid, const char* name, char* text, size_t size) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%d/%s", tid, name);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? 0 : read(fd, text, size - 1);
  text[got < 0 ? 0 : got] = '\0';
  if (fd >= 0) close(fd);
}

// The letter after the name, which is in parentheses and may contain anything.
char StateOf(pid_t tid) {
  char text[128];
  ReadTaskFile(tid, "stat", text, sizeof(text));
  const char* end = std::strrchr(text, ')');
  return end != nullptr && end[1] == ' ' ? end[2] : '\0';
}

// The call a thread sleeps in, or -1: the file says "running" while it is not blocked.
long CallOf(pid_t tid) {
  char text[64];
  ReadTaskFile(tid, "syscall", text, sizeof(text));
  char* end;
  const long nr = std::strtol(text, &end, 10);
  return end == text ? -1 : nr;
}

template <typename Reached>
void Await(pid_t tid, const char* what, const Reached& reached) {
  timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  while (!reached()) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - start.tv_sec > 60) {
      char stat[128], call[64];
      ReadTaskFile(tid, "stat", stat, sizeof(stat));
      ReadTaskFile(tid, "syscall", call, sizeof(call));
      std::fprintf(stderr, "thread %d never reached %s; its stat: %s its syscall: %s\n", tid, what, stat, call);
      std::abort();
    }
    // Only how often we look; nothing relies on its length.
    const timespec pause = {0, 200'000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
  }
}

}  // namespace

void AwaitSleepIn(pid_t tid, long nr) {
  char what[32];
  std::snprintf(what, sizeof(what), "system call %ld", nr);
  // A stopped thread has a call too, so its state counts; it is read last, because only then the call is the last one.
  Await(tid, what, [&] {
    const long at = CallOf(tid);
    return (at == nr || at == SYS_restart_syscall) && StateOf(tid) == 'S' && CallOf(tid) == at;
  });
}

void AwaitFutexWaiters(const void* word, int count, bool shared) {
  const int operation = shared ? FUTEX_REQUEUE : FUTEX_REQUEUE_PRIVATE;
  Await(getpid(), "its futex waiters",
        [&] { return syscall(SYS_futex, word, operation, 0, INT_MAX, word, 0) == count; });
}

void AwaitState(pid_t tid, const char* states) {
  Await(tid, states, [&] {
    const char state = StateOf(tid);
    return state != '\0' && std::strchr(states, state) != nullptr;
  });
}

Helper::Helper(std::function<void()> body) {
  std::promise<pid_t> tid;
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  thread_ = std::thread([&tid, body = std::move(body)] {
    tid.set_value(static_cast<pid_t>(syscall(SYS_gettid)));
    body();
  });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  tid_ = tid.get_future().get();
}

WhenAsleepIn::WhenAsleepIn(long nr, std::function<void()> action)
    : helper_([sleeper = static_cast<pid_t>(syscall(SYS_gettid)), nr, action = std::move(action)] {
        AwaitSleepIn(sleeper, nr);
        action();
      }) {}

}  // namespace guest
