// The network namespace that a sandbox's host sockets are in, as the host's kernel describes it (rtnetlink(7)). The
// questions are our own: nothing of a guest's request reaches the host.
#pragma once

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/socket/interfaces.h"

namespace sandbox {

class HostNetwork {
 public:
  // Opens the socket that is asked; before the sentry's filter.
  static Result<RefPtr<HostNetwork>> Open();
  explicit HostNetwork(UniqueFd socket) : socket_(std::move(socket)) {}
  // What cannot be read is missing.
  NetState Query();

 private:
  using Sink = void (*)(NetState& state, uint16_t type, std::string_view body);
  Result<void> Dump(uint16_t request, Sink sink, NetState& state) REQUIRES(mu_);

  Mutex mu_{LockRank::kHostNotifier};
  const UniqueFd socket_;
  uint32_t sequence_ GUARDED_BY(mu_) = 0;
};

}  // namespace sandbox
