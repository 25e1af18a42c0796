// The sentry's end of the journal: changes that the gofer makes in order and nobody waits for (gofer/protocol/
// messages.h). Numbers start at 1; sent() and done() are the last ones that were sent and are known to be done.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "gofer/protocol/channel.h"

namespace sandbox {

class GoferJournal {
 public:
  bool open() const { return open_.load(std::memory_order_acquire); }
  // True for the one caller that is to ask for the socket.
  bool BeginOpen() { return !asked_.exchange(true); }
  bool Open(UniqueFd socket);

  // The number of the request, or 0 when so many are under way that they have to be waited for.
  uint64_t Post(std::span<const std::byte> request);
  // A request that had to follow `after` was answered; `failed` as in gofer::ReplyHeader. True when more have failed.
  bool NoteDone(uint64_t after, uint32_t failed);

  uint64_t sent() const { return sent_.load(std::memory_order_acquire); }
  uint64_t done() const { return done_.load(std::memory_order_acquire); }
  // Changes that the guest was told of and that the host refused. Counts up: who remembers an earlier count knows that
  // something was lost since, as with errseq_t on Linux.
  uint32_t failed() const { return failed_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> asked_{false};
  std::atomic<bool> open_{false};
  Mutex mu_{LockRank::kGofer};
  std::optional<gofer::Channel> channel_ GUARDED_BY(mu_);
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> done_{0};
  std::atomic<uint32_t> failed_{0};
};

}  // namespace sandbox
