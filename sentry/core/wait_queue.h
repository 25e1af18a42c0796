// Readiness: who waits for what. An object owns a WaitQueue and calls Notify after its state
// changed; a waiter registers a WaitEntry, checks the state, and sleeps in Context::Block. Register
// before the check, or a wake is lost.
#pragma once

#include <atomic>
#include <cstdint>

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
namespace internal {
struct WaitList;
}

// Lives on its owner; must be unregistered before it is destroyed.
class WaitEntry {
 public:
  WaitEntry() = default;
  WaitEntry(const WaitEntry&) = delete;
  virtual ~WaitEntry() = default;
  // Called with the queue's lock held: must be short, must not block, and must not touch the queue.
  // `events` are those that were notified and are in mask().
  virtual void Notify(EventMask events) = 0;
  // For exclusive entries: whether the event was taken, so that no other exclusive entry needs it.
  virtual bool NotifyExclusive(EventMask events) {
    Notify(events);
    return true;
  }
  EventMask mask() const { return mask_; }
  // Takes the entry off its queue, if it is on one; no Notify runs or will run after it returns.
  void Unregister();

 private:
  friend class WaitQueue;
  friend struct internal::WaitList;
  EventMask mask_ = 0;
  bool exclusive_ = false;
  internal::WaitList* list_ = nullptr;
  WaitEntry* next_ = nullptr;
  WaitEntry* previous_ = nullptr;
};

// The list behind a queue is allocated with the first waiter and shared with the entries, so a
// queue may be destroyed while entries are registered (an epoll set does not keep its files alive):
// they are notified of a hang-up and stay, orphaned, until they unregister.
class WaitQueue {
 public:
  WaitQueue() = default;
  WaitQueue(const WaitQueue&) = delete;
  ~WaitQueue();
  void Register(WaitEntry& entry, EventMask mask) { RegisterAs(entry, mask, false); }
  // As Register, but an event goes to the first exclusive entry that takes it, in turn (Linux:
  // WQ_FLAG_EXCLUSIVE).
  void RegisterExclusive(WaitEntry& entry, EventMask mask) { RegisterAs(entry, mask, true); }
  void Unregister(WaitEntry& entry) { entry.Unregister(); }
  // Wakes every entry whose mask intersects `events` (kEventAlways always matches).
  void Notify(EventMask events);
  // Cheap test for "nobody waits"; a stale answer is only a lost optimisation when the caller
  // changed state first.
  bool empty() const;

 private:
  void RegisterAs(WaitEntry& entry, EventMask mask, bool exclusive);
  std::atomic<internal::WaitList*> list_{nullptr};
};

}  // namespace sandbox
