// Futexes, alone and under mutexes and condition variables, and threads.
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "bench/guest/harness.h"

namespace sandbox::bench {
namespace {

long Futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  return ::syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

void Set(std::atomic<uint32_t>& word, uint32_t value) {
  word.store(value);
  Futex(word, FUTEX_WAKE, 1);
}

void WaitFor(std::atomic<uint32_t>& word, uint32_t value) {
  for (uint32_t seen; (seen = word.load()) != value;) Futex(word, FUTEX_WAIT, seen);
}

}  // namespace

GUEST_BENCHMARK("futex", "wake_nobody") {
  std::atomic<uint32_t> word{0};
  run.Loop([&] { Must(Futex(word, FUTEX_WAKE, 1) == 0, "futex"); });
}

GUEST_BENCHMARK("futex", "wait_changed") {
  std::atomic<uint32_t> word{1};
  run.Loop([&] { Must(Futex(word, FUTEX_WAIT, 0) == -1 && errno == EAGAIN, "futex"); });
}

GUEST_BENCHMARK("futex", "ping_pong") {
  std::atomic<uint32_t> word{0};
  std::thread other([&] {
    for (;;) {
      uint32_t seen;
      while ((seen = word.load()) == 0) Futex(word, FUTEX_WAIT, 0);
      if (seen == 2) return;
      Set(word, 0);
    }
  });
  run.Loop([&] {
    Set(word, 1);
    WaitFor(word, 0);
  });
  Set(word, 2);
  other.join();
}

GUEST_BENCHMARK("futex", "condvar_ping_pong") {
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  std::thread other([&] {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return turn != 0; });
      if (turn == 2) return;
      turn = 0;
      changed.notify_one();
    }
  });
  run.Loop([&] {
    std::unique_lock lock(mutex);
    turn = 1;
    changed.notify_one();
    changed.wait(lock, [&] { return turn == 0; });
  });
  {
    std::lock_guard lock(mutex);
    turn = 2;
  }
  changed.notify_one();
  other.join();
}

// Two threads that fight for one lock, held shortly.
GUEST_BENCHMARK("futex", "mutex_contended") {
  std::mutex mutex;
  std::atomic<bool> done{false};
  volatile uint64_t shared = 0;
  std::thread other([&] {
    while (!done.load(std::memory_order_relaxed)) {
      std::lock_guard lock(mutex);
      shared = shared + 1;
    }
  });
  run.Loop([&] {
    std::lock_guard lock(mutex);
    shared = shared + 1;
  });
  done = true;
  other.join();
}

GUEST_BENCHMARK("futex", "thread_create_join") {
  run.Loop([] {
    pthread_t thread;
    Must(::pthread_create(
             &thread, nullptr, [](void* p) { return p; }, nullptr) == 0,
         "pthread_create");
    Must(::pthread_join(thread, nullptr) == 0, "pthread_join");
  });
}

}  // namespace sandbox::bench
