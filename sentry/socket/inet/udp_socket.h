// UDP between sockets of one sandbox (udp(7)).
#pragma once

#include <optional>

#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/receive_queue.h"

namespace sandbox {

// What datagrams are delivered to; the socket owns it.
class UdpEndpoint {
 public:
  UdpEndpoint() { incoming.SetMaxMessages(kMaxDatagrams); }
  ReceiveQueue incoming;
  WaitQueue wait_queue;
  std::atomic<int> error{0};
  bool listening() const { return false; }  // for PortTable: datagram ports are shared by SO_REUSEADDR alone

  std::optional<InetAddress> local() const;
  std::optional<InetAddress> peer() const;
  void SetLocal(const InetAddress& address);
  void SetPeer(const std::optional<InetAddress>& address);
  // A connected socket takes datagrams from its peer only.
  bool Takes(const InetAddress& from) const;

 private:
  static constexpr size_t kMaxDatagrams = 1024;
  mutable Mutex mu_{LockRank::kSocket};
  std::optional<InetAddress> local_ GUARDED_BY(mu_), peer_ GUARDED_BY(mu_);
};

class UdpSocket final : public InetSocket {
 public:
  UdpSocket(int family, int flags);
  ~UdpSocket() override;

  Result<void> Bind(const SocketCaller& caller, const SocketAddress& address) override;
  Result<void> Connect(const SocketCaller& caller, const SocketAddress& address) override;
  Result<SocketAddress> LocalAddress(Context& context) override;
  Result<SocketAddress> PeerAddress(Context& context) override;
  Result<void> Shutdown(Context& context, int how) override;
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &endpoint_->wait_queue; }

 protected:
  int TakeError() override { return endpoint_->error.exchange(0); }
  size_t readable_bytes() const override { return endpoint_->incoming.next_packet_bytes(); }

 private:
  Result<void> BindTo(Context& context, const InetAddress& address);
  Result<void> EnsureBound(Context& context);

  const RefPtr<UdpEndpoint> endpoint_;
  std::atomic<uint16_t> claimed_port_{0};
  std::atomic<bool> write_shut_{false};
};

}  // namespace sandbox
