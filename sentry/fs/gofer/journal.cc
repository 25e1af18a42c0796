#include "sentry/fs/gofer/journal.h"

#include "base/log.h"

namespace sandbox {
namespace {

template <typename T>
bool RaiseTo(std::atomic<T>& value, T to) {
  T now = value.load(std::memory_order_acquire);
  while (now < to) {
    if (value.compare_exchange_weak(now, to, std::memory_order_acq_rel)) return true;
  }
  return false;
}

}  // namespace

bool GoferJournal::Open(UniqueFd socket) {
  if (!socket.valid()) return false;
  MutexLock lock(mu_);
  channel_.emplace(std::move(socket));
  open_.store(true, std::memory_order_release);
  return true;
}

uint64_t GoferJournal::Post(std::span<const std::byte> request) {
  MutexLock lock(mu_);
  if (!channel_->TrySend(request).ok()) return 0;
  return sent_.fetch_add(1, std::memory_order_acq_rel) + 1;
}

bool GoferJournal::NoteDone(uint64_t after, uint32_t failed) {
  RaiseTo(done_, after);
  if (!RaiseTo(failed_, failed)) return false;
  LOGF(kError, "gofer: %u deferred changes failed so far", failed);
  return true;
}

}  // namespace sandbox
