// Requests that the client does not wait for: one socket, carried out in the order in which they came.
//
// Whoever needs them done does them: a thread that serves a channel catches up before it answers, and a thread of the
// journal's own does what nobody else came for. After a batch that thread rests for a moment without being there to
// be woken, so a client that sends one after the other pays for a wake-up once in a while, not every time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/channel.h"
#include "gofer/protocol/messages.h"

namespace sandbox::gofer {

class Journal {
 public:
  // Carries out one request; EPROTO when it is malformed, which ends the journal.
  using Function = std::function<Result<void>(std::span<const std::byte> request)>;
  explicit Journal(Function carry_out) : carry_out_(std::move(carry_out)) {}

  // EEXIST when there is one already.
  Result<void> Open(UniqueFd socket);
  // The journal's own thread; returns when the client has closed its end or broke the protocol.
  void Serve();
  // Returns when `count` requests have been carried out. EPROTO when the client has not sent as many.
  Result<void> CatchUp(uint64_t count);
  // Carries out what is there.
  void Finish();

  uint32_t failed() const { return failed_.load(std::memory_order_acquire); }

 private:
  // The next request that has arrived: EAGAIN when there is none, EPIPE at the end.
  Result<void> Step() REQUIRES(mu_);

  const Function carry_out_;
  // Held while a request is carried out: they happen one after the other. Before the node table's, of the same rank.
  Mutex mu_{LockRank::kGofer};
  Channel channel_ GUARDED_BY(mu_){UniqueFd()};
  std::array<std::byte, kMaxDeferred> buffer_ GUARDED_BY(mu_);
  bool broken_ GUARDED_BY(mu_) = false;
  std::atomic<bool> open_{false};
  std::atomic<uint64_t> done_{0};
  std::atomic<uint32_t> failed_{0};
};

}  // namespace sandbox::gofer
