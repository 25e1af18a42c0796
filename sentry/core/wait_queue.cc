#include "sentry/core/wait_queue.h"

#include <utility>

#include "base/check.h"

namespace sandbox {
namespace internal {

// Circular list with the queue and every registered entry as its owners.
struct WaitList {
  Mutex mu{LockRank::kWaitQueue};
  WaitEntry* head GUARDED_BY(mu) = nullptr;
  WaitEntry* tail GUARDED_BY(mu) = nullptr;
  std::atomic<int> count{0};
  std::atomic<int> refs{1};

  void Unref() {
    if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  void Append(WaitEntry& entry) {
    MutexLock lock(mu);
    Link(entry);
    count.fetch_add(1, std::memory_order_seq_cst);
  }
  void Remove(WaitEntry& entry) {
    MutexLock lock(mu);
    Unlink(entry);
    count.fetch_sub(1, std::memory_order_seq_cst);
  }
  void Link(WaitEntry& entry) REQUIRES(mu) {
    entry.previous_ = tail;
    entry.next_ = nullptr;
    (tail != nullptr ? tail->next_ : head) = &entry;
    tail = &entry;
  }
  void Unlink(WaitEntry& entry) REQUIRES(mu) {
    (entry.previous_ != nullptr ? entry.previous_->next_ : head) = entry.next_;
    (entry.next_ != nullptr ? entry.next_->previous_ : tail) = entry.previous_;
  }
  void Notify(EventMask events) {
    // Pairs with the waiter's "register, then check": either it sees the new state or this sees it.
    if (count.load(std::memory_order_seq_cst) == 0) return;
    MutexLock lock(mu);
    WaitEntry* taker = nullptr;
    for (WaitEntry* entry = head; entry != nullptr; entry = entry->next_) {
      const EventMask hit = events & entry->mask_;
      if (hit == 0) continue;
      if (!entry->exclusive_)
        entry->Notify(hit);
      else if (taker == nullptr && entry->NotifyExclusive(hit))
        taker = entry;
    }
    if (taker == nullptr) return;
    Unlink(*taker);  // the others' turn first
    Link(*taker);
  }
};

}  // namespace internal

using internal::WaitList;

void WaitEntry::Unregister() {
  if (list_ == nullptr) return;
  list_->Remove(*this);
  std::exchange(list_, nullptr)->Unref();
}

WaitQueue::~WaitQueue() {
  WaitList* list = list_.load(std::memory_order_acquire);
  if (list == nullptr) return;
  list->Notify(kEventErr | kEventHup);
  list->Unref();
}

void WaitQueue::RegisterAs(WaitEntry& entry, EventMask mask, bool exclusive) {
  CHECK(entry.list_ == nullptr);
  WaitList* list = list_.load(std::memory_order_acquire);
  if (list == nullptr) {
    auto* fresh = new WaitList;
    if (list_.compare_exchange_strong(list, fresh, std::memory_order_seq_cst)) {
      list = fresh;
    } else {
      delete fresh;
    }
  }
  list->refs.fetch_add(1, std::memory_order_relaxed);
  entry.mask_ = mask | kEventAlways;
  entry.exclusive_ = exclusive;
  entry.list_ = list;
  list->Append(entry);
}

void WaitQueue::Notify(EventMask events) {
  WaitList* list = list_.load(std::memory_order_seq_cst);
  if (list != nullptr) list->Notify(events);
}

bool WaitQueue::empty() const {
  const WaitList* list = list_.load(std::memory_order_seq_cst);
  return list == nullptr || list->count.load(std::memory_order_seq_cst) == 0;
}

}  // namespace sandbox
