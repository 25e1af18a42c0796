#include "sentry/core/wait_queue.h"

#include "base/check.h"

namespace sandbox {

WaitQueue::~WaitQueue() { CHECK(entries_.empty()); }

void WaitQueue::Register(WaitEntry& entry, EventMask mask) {
  MutexLock lock(mu_);
  CHECK(entry.queue_ == nullptr);
  entry.mask_ = mask | kEventAlways;
  entry.queue_ = this;
  entry.position_ = entries_.insert(entries_.end(), &entry);
  __atomic_add_fetch(&count_, 1, __ATOMIC_SEQ_CST);
}

void WaitQueue::Unregister(WaitEntry& entry) {
  MutexLock lock(mu_);
  if (entry.queue_ != this) return;
  entries_.erase(entry.position_);
  entry.queue_ = nullptr;
  __atomic_sub_fetch(&count_, 1, __ATOMIC_SEQ_CST);
}

void WaitQueue::Notify(EventMask events) {
  if (empty()) return;
  MutexLock lock(mu_);
  for (WaitEntry* entry : entries_) {
    if (const EventMask hit = events & entry->mask_) entry->Notify(hit);
  }
}

}  // namespace sandbox
