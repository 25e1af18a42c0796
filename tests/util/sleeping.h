// Waiting for what another thread or process is really doing, as /proc tells it (proc(5)): no test needs to sleep and
// hope that the other has got there.
#pragma once

#include <sys/syscall.h>  // callers name calls by SYS_*
#include <sys/types.h>

#include <functional>
#include <thread>

namespace guest {

// Waits until the thread `tid`, of this or of another process that we may inspect, sleeps in system call `nr`
// (SYS_read…), or in restart_syscall after a stop. What it called has looked at its condition by then and will be
// woken by a change of it. Aborts the program with a message after a minute.
void AwaitSleepIn(pid_t tid, long nr);
// Waits until the thread's state in /proc/TID/stat is one of `states` ("Z", "T", "SD"). Makes no allocation, so that a
// vfork child may call it.
void AwaitState(pid_t tid, const char* states);

// Waits until `count` threads are queued on the futex `word` (of others than this process: `shared`), for tests of how
// many a wake-up reaches: that a thread sleeps in futex(2) is known a moment before it can be woken. Asks by requeueing
// them where they are.
void AwaitFutexWaiters(const void* word, int count, bool shared = false);

// A thread whose id others know, joined at the end. All signals are blocked in it: they go to the test's own thread.
class Helper {
 public:
  explicit Helper(std::function<void()> body);
  ~Helper() { Join(); }
  Helper(const Helper&) = delete;
  void AwaitSleepIn(long nr) const { guest::AwaitSleepIn(tid_, nr); }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  pid_t tid_ = 0;
  std::thread thread_;
};

// Runs `action` in a Helper once the calling thread sleeps in system call `nr`:
//   WhenAsleepIn late(SYS_read, [&] { write(fd, "x", 1); });
//   read(…);
class WhenAsleepIn {
 public:
  WhenAsleepIn(long nr, std::function<void()> action);

 private:
  Helper helper_;
};

}  // namespace guest
