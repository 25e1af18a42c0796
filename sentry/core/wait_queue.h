// Readiness: who waits for what. An object owns a WaitQueue and calls Notify after its state changed; a waiter
// registers a WaitEntry, checks the state, and sleeps in Context::Block. Register before the check, or a wake is lost.
#pragma once

#include <cstdint>
#include <list>

#include "base/mutex.h"

namespace sandbox {

// Poll events, values of POLLIN… (poll(2)); EPOLL* readiness bits are the same numbers.
using EventMask = uint32_t;
inline constexpr EventMask kEventIn = 0x001, kEventPri = 0x002, kEventOut = 0x004, kEventErr = 0x008, kEventHup = 0x010,
                           kEventRdNorm = 0x040, kEventRdBand = 0x080, kEventWrNorm = 0x100, kEventWrBand = 0x200,
                           kEventRdHup = 0x2000;
inline constexpr EventMask kReadable = kEventIn | kEventRdNorm, kWritable = kEventOut | kEventWrNorm;
// Always reported, asked for or not.
inline constexpr EventMask kEventAlways = kEventErr | kEventHup;
inline constexpr EventMask kAllEvents = 0xffffffff;

class WaitQueue;

// Lives on its owner; must be unregistered before it is destroyed.
class WaitEntry {
 public:
  virtual ~WaitEntry() = default;
  // Called with the queue's lock held: must be short, must not block, and must not touch the queue. `events` are
  // those that were notified and are in mask().
  virtual void Notify(EventMask events) = 0;
  EventMask mask() const { return mask_; }

 private:
  friend class WaitQueue;
  EventMask mask_ = 0;
  WaitQueue* queue_ = nullptr;
  std::list<WaitEntry*>::iterator position_;
};

class WaitQueue {
 public:
  WaitQueue() : mu_(LockRank::kWaitQueue) {}
  ~WaitQueue();
  void Register(WaitEntry& entry, EventMask mask);
  void Unregister(WaitEntry& entry);  // no Notify runs or will run after it returns
  // Wakes every entry whose mask intersects `events` (kEventAlways always matches).
  void Notify(EventMask events);
  // Cheap test for "nobody waits"; a stale answer is only a lost optimisation when the caller changed state first.
  bool empty() const { return __atomic_load_n(&count_, __ATOMIC_SEQ_CST) == 0; }

 private:
  Mutex mu_;
  std::list<WaitEntry*> entries_ GUARDED_BY(mu_);
  int count_ = 0;
};

}  // namespace sandbox
