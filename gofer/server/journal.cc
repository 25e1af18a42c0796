#include "gofer/server/journal.h"

#include <poll.h>

#include "base/log.h"

namespace sandbox::gofer {
namespace {

constexpr int kRestMs = 1;

}  // namespace

Result<void> Journal::Open(UniqueFd socket) {
  MutexLock lock(mu_);
  if (open_.load()) return Err(EEXIST);
  channel_ = Channel(std::move(socket));
  open_.store(true);
  return {};
}

Result<void> Journal::Step() {
  if (broken_) return Err(EPROTO);
  const size_t size = TRY(channel_.Poll(buffer_));
  const auto result = carry_out_(std::span(buffer_).first(size));
  if (result.Is(EPROTO)) {
    LOGF(kWarning, "gofer: malformed deferred request of %zu bytes, closing the journal", size);
    broken_ = true;
    return result;
  }
  if (!result.ok()) {
    LOGF(kWarning, "gofer: a deferred change failed: errno %d", result.error().value());
    failed_.fetch_add(1, std::memory_order_acq_rel);
  }
  done_.fetch_add(1, std::memory_order_acq_rel);
  return {};
}

Result<void> Journal::CatchUp(uint64_t count) {
  while (done_.load(std::memory_order_acquire) < count) {
    if (!open_.load()) return Err(EPROTO);
    MutexLock lock(mu_);
    // Another thread may have done it meanwhile.
    if (done_.load(std::memory_order_acquire) >= count) break;
    // What the client has counted it has sent.
    if (!Step().ok()) return Err(EPROTO);
  }
  return {};
}

void Journal::Finish() {
  if (!open_.load()) return;
  MutexLock lock(mu_);
  while (Step().ok()) {
  }
}

void Journal::Serve() {
  int socket;
  {
    MutexLock lock(mu_);
    socket = channel_.socket().get();
  }
  for (bool busy = false;;) {
    pollfd wait{socket, POLLIN, 0};
    // Not on the socket while it rests.
    if (::poll(&wait, busy ? 0 : 1, busy ? kRestMs : -1) < 0 && errno != EINTR) return;
    busy = false;
    for (;;) {
      // One at a time, so that those who catch up get their turn.
      MutexLock lock(mu_);
      const auto step = Step();
      if (step.Is(EAGAIN)) break;
      if (!step.ok()) return;
      busy = true;
    }
  }
}

}  // namespace sandbox::gofer
