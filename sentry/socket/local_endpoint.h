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
  size_t waiting() const;  // connections to be accepted
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
  // connect(2) with AF_UNSPEC: ends a connection with a reset, or stops listening; the name goes unless `keep_name`.
  void Disconnect(bool keep_name);
  // The file is gone. `reset`: as if unread data was lost.
  void Close(bool reset = false);
  // The other side ended with a reset: nothing goes either way, what arrived before can be read.
  // What a write to a closed peer draws: EPIPE, where the end was seen already (Linux: tcp_reset in CLOSE_WAIT).
  void TakeReset();
  bool was_reset() const { return was_reset_.load(std::memory_order_acquire); }
  bool closed() const { return closed_.load(std::memory_order_acquire); }

  // `urgent_inline`: SO_OOBINLINE.
  EventMask Readiness(bool urgent_inline);
  // Queues the byte of MSG_OOB for the other side's `to` and tells it (SIGURG, POLLPRI).
  static Result<void> SendUrgent(LocalEndpoint& to, SocketMessage&& message);
  // Calls visit(queue) for what is queued here and in connections that wait to be accepted.
  void VisitQueues(const std::function<void(ReceiveQueue&)>& visit);
  // `sender` could not send here: it is notified when room appears.
  void WakeWhenFree(const LocalEndpointRef& sender);
  void NotifyRoom();

  int TakeError() { return error_.exchange(0); }
  int pending_error() const { return error_.load(); }
  ucred peer_credentials() const;

 private:
  static constexpr size_t kMaxDatagrams = 512;  // net.unix.max_dgram_qlen as distributions set it
  static constexpr size_t kMaxBacklog = 4096;   // net.core.somaxconn
  enum class State { kUnconnected, kListening, kConnected };

  void Sever(bool reset);
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
  std::atomic<bool> closed_{false}, was_reset_{false};
};

}  // namespace sandbox
