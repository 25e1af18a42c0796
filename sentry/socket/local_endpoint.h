// LocalEndpoint: one end of communication inside the sandbox (Linux: struct unix_sock): what unix sockets and loopback
// TCP are made of. The socket's open file owns it and closes it; connected endpoints refer to each other until one is
// closed, so an endpoint may outlive its file.
#pragma once

#include <atomic>
#include <deque>
#include <vector>

#include "base/mutex.h"
#include "sentry/socket/receive_queue.h"
#include "sentry/socket/socket.h"

namespace sandbox {

class LocalEndpoint;
using LocalEndpointRef = RefPtr<LocalEndpoint>;

class LocalEndpoint : public RefFromThis<LocalEndpoint> {
 public:
  // How the end of one side looks to the other: a unix connection ends both ways at once, TCP's only one way (FIN).
  enum class Ending { kBoth, kOneWay };
  explicit LocalEndpoint(int type, Ending ending = Ending::kBoth) : type(type), ending(ending) {
    if (type == SOCK_DGRAM) incoming.SetMaxMessages(kMaxDatagrams);
  }

  const int type;
  const Ending ending;
  ReceiveQueue incoming;
  WaitQueue wait_queue;

  // socketpair(2).
  static void Pair(const LocalEndpointRef& a, const LocalEndpointRef& b, const ucred& creds);

  // Names. SetAddress: EINVAL when it has one already.
  Result<void> SetAddress(const SocketAddress& address);
  SocketAddress address() const;

  // listen(2): EINVAL unless bound and unconnected.
  Result<void> Listen(int backlog, const ucred& creds);
  bool listening() const;
  // connect(2) of a stream or seqpacket socket: ECONNREFUSED, EAGAIN for a full backlog (the caller is then woken when
  // there is room), EISCONN, EINVAL. `server_address`: what the accepted end is called, if not as the listener.
  Result<void> ConnectTo(const LocalEndpointRef& listener, const ucred& creds,
                         const SocketAddress* server_address = nullptr);
  Result<LocalEndpointRef> Accept();

  // Datagrams: the default destination, null to dissolve. EPERM when the target talks to another.
  Result<void> SetTarget(const LocalEndpointRef& target);

  // Where bytes go. ENOTCONN, EPIPE after shutdown, ECONNREFUSED for a datagram target that is gone, or the pending
  // error once.
  Result<LocalEndpointRef> PeerForSend();
  LocalEndpointRef peer() const;
  // True when a datagram socket with another default destination refuses ours (Linux: unix_may_send).
  bool connected() const;
  void SetError(int error) { error_.store(error); }
  bool Refuses(const LocalEndpoint& sender) const;

  Result<void> Shutdown(int how);
  // The file is gone.
  void Close();
  bool closed() const { return closed_.load(std::memory_order_acquire); }

  EventMask Readiness();
  // `sender` could not send here: it is notified when room appears.
  void WakeWhenFree(const LocalEndpointRef& sender);
  void NotifyRoom();

  int TakeError() { return error_.exchange(0); }
  ucred peer_credentials() const;

 private:
  static constexpr size_t kMaxDatagrams = 512;  // net.unix.max_dgram_qlen as distributions set it
  static constexpr size_t kMaxBacklog = 4096;   // net.core.somaxconn
  enum class State { kUnconnected, kListening, kConnected };

  void PeerClosed(bool data_lost);
  EventMask WriteReadiness();

  mutable Mutex mu_{LockRank::kSocket};
  State state_ GUARDED_BY(mu_) = State::kUnconnected;
  SocketAddress address_ GUARDED_BY(mu_);
  LocalEndpointRef peer_ GUARDED_BY(mu_);
  ucred peer_credentials_ GUARDED_BY(mu_) = {0, ~0u, ~0u};
  std::deque<LocalEndpointRef> backlog_ GUARDED_BY(mu_);
  size_t backlog_limit_ GUARDED_BY(mu_) = 0;
  bool write_shut_ GUARDED_BY(mu_) = false;
  std::vector<WeakRef<LocalEndpoint>> blocked_ GUARDED_BY(mu_);
  std::atomic<bool> has_blocked_{false};
  std::atomic<int> error_{0};
  std::atomic<bool> closed_{false};
};

}  // namespace sandbox
