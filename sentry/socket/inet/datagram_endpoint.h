// What UDP and raw sockets have in common: messages arrive in a queue, and a peer is only whom they come from and go
// to.
#pragma once

#include <atomic>
#include <optional>

#include "base/mutex.h"
#include "sentry/core/wait_queue.h"
#include "sentry/socket/inet/inet_address.h"
#include "sentry/socket/inet/inet_options.h"
#include "sentry/socket/receive_queue.h"
#include "sentry/socket/socket.h"

namespace sandbox {

// The socket owns it; whoever delivers a message may hold it longer.
class DatagramEndpoint {
 public:
  DatagramEndpoint(int family, int type, int protocol) : options(family, type, protocol) {
    incoming.SetMaxMessages(kMaxMessages);
  }

  ReceiveQueue incoming;
  WaitQueue wait_queue;
  InetOptions options;

  std::optional<InetAddress> local() const EXCLUDES(mu_);
  std::optional<InetAddress> peer() const EXCLUDES(mu_);
  void SetLocal(const std::optional<InetAddress>& address) EXCLUDES(mu_);
  void SetPeer(const std::optional<InetAddress>& address) EXCLUDES(mu_);

  // shutdown(2). EINVAL; ENOTCONN without a peer, when it is done all the same (Linux: inet_shutdown).
  Result<void> Shutdown(int how);
  bool write_shut() const { return write_shut_.load(); }
  // Errors are not among it.
  EventMask Readiness() const;
  // The part of it that sock_diag(7) shows.
  void Summarize(SocketSummary& summary) const;

 private:
  static constexpr size_t kMaxMessages = 1024;

  mutable Mutex mu_{LockRank::kLeaf};
  std::optional<InetAddress> local_ GUARDED_BY(mu_), peer_ GUARDED_BY(mu_);
  std::atomic<bool> write_shut_{false};
};

}  // namespace sandbox
