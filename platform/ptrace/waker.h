// Sleeping and waking without polling: a one-shot event for threads, and a wait4 that another thread can end.
#pragma once

#include <atomic>
#include <cstdint>

namespace sandbox::platform::ptrace {

// Set once, waited for by one thread; reusable after Reset. (The standard library's semaphores spin first, which on a
// loaded machine only takes time from the thread one waits for.)
class Event {
 public:
  void Set();
  void Wait();  // returns at once when already set; leaves it reset

 private:
  std::atomic<uint32_t> state_{0};
};

// wait4(-1, status, __WALL | __WNOTHREAD) for the tracer thread, which Kick ends early.
//
// A signal that arrives between the last look at the queue and the system call would be lost, so the wait is a few
// instructions of assembly whose addresses the signal handler knows: a thread interrupted among them leaves the wait
// instead of entering it (the way musl implements cancellation).
class InterruptibleWait {
 public:
  // Claims a real-time signal's disposition for the process. Call once per tracer, from its thread.
  void BindToThisThread();
  // Returns a pid, or -errno; -EINTR after Kick, also one that came earlier. Without tracees it waits for Kick alone.
  long Wait(int* status);
  // From any thread.
  void Kick();
  // Forgets kicks so far; the caller then looks at its queue.
  void Clear() { kicked_.store(0, std::memory_order_seq_cst); }

 private:
  std::atomic<uint32_t> kicked_{0};
  std::atomic<uint32_t> waiting_{0};  // 1 in wait4, 2 on the futex
  int tgid_ = 0;
  int tid_ = 0;
};

}  // namespace sandbox::platform::ptrace
