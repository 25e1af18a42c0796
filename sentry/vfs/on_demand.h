// State that few objects have: behind an atomic pointer, made by whoever needs it first. The owner
// deletes it.
#pragma once

#include <atomic>
#include <memory>

namespace sandbox {

template <typename T>
T& OnDemand(std::atomic<T*>& slot) {
  if (T* made = slot.load(std::memory_order_acquire)) return *made;
  auto fresh = std::make_unique<T>();
  T* expected = nullptr;
  if (slot.compare_exchange_strong(expected, fresh.get(), std::memory_order_acq_rel)) return *fresh.release();
  return *expected;
}

}  // namespace sandbox
