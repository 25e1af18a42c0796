// Readiness of host descriptors, by one thread that sleeps in epoll_wait(2).
//
// A descriptor is armed only while somebody waits for it, once for each wait (EPOLLONESHOT): a guest that writes to a
// pipe nobody polls never wakes the thread, and an idle sandbox has no wake-ups at all.
#pragma once

#include <cstdint>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "sentry/core/wait_queue.h"

namespace sandbox {

// A host descriptor that can be waited for. The descriptor must stay open until this is destroyed.
class HostPollable {
 public:
  explicit HostPollable(BorrowedFd fd);
  ~HostPollable();
  HostPollable(const HostPollable&) = delete;

  // False for files that epoll refuses (regular files, /dev/null): they are always ready.
  bool can_wait() const { return can_wait_; }
  WaitQueue& queue() { return queue_; }

  // State now, by one poll(2).
  EventMask State(EventMask interest);
  // Call when an operation said EAGAIN or State lacked something: makes the next change wake the queue. Does nothing
  // while nobody is registered. Register first, then test, then Arm.
  void Arm(EventMask missing);

 private:
  friend class HostNotifier;
  void OnHostEvents(EventMask events);
  void ArmLocked(EventMask events) REQUIRES(mu_);

  const BorrowedFd fd_;
  uint64_t id_ = 0;
  bool can_wait_ = false;
  Mutex mu_{LockRank::kLeaf};
  EventMask armed_ GUARDED_BY(mu_) = 0;
  WaitQueue queue_;
};

}  // namespace sandbox
