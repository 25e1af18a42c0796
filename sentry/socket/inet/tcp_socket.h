// TCP between sockets of one sandbox (tcp(7)): a LocalEndpoint with ports. No segments exist; what programs can see of
// TCP does: connection states, half close, resets, refusals.
#pragma once

#include <linux/tcp.h>

#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/inet/multicast.h"
#include "sentry/socket/local_endpoint.h"

namespace sandbox {

class TcpSocket final : public InetSocket {
 public:
  TcpSocket(int family, int flags, LocalEndpointRef endpoint);
  ~TcpSocket() override;

  Result<void> Bind(const SocketCaller& caller, const SocketAddress& address) override;
  Result<void> Listen(Context& context, int backlog) override;
  Result<SocketRef> Accept(Context& context, int flags) override;
  Result<void> Connect(const SocketCaller& caller, const SocketAddress& address) override;
  Result<SocketAddress> LocalAddress(Context& context) override;
  Result<SocketAddress> PeerAddress(Context& context) override;
  Result<SocketAddress> AcceptedFrom(Context& context) override;
  Result<void> Shutdown(Context& context, int how) override;
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;
  Result<std::string> GetOption(Context& context, int level, int name) override;
  SocketSummary Summary(Context& context) override;
  EventMask Readiness(Context&, EventMask) override { return endpoint_->Readiness(options().urgent_inline()); }
  WaitQueue* wait_queue() override { return &endpoint_->wait_queue; }

 protected:
  bool bound() const override { return claimed_port_.load() != 0; }
  bool has_peer() const override { return endpoint_->connected(); }
  InetOptions& inet_options() override { return options_; }
  int TakeError() override { return endpoint_->TakeError(); }
  bool listening() const override { return endpoint_->listening(); }
  ReceiveQueue* peek_queue() override { return &endpoint_->incoming; }
  size_t readable_bytes() const override { return endpoint_->incoming.bytes_before_mark(options().urgent_inline()); }
  bool at_mark() const override { return endpoint_->incoming.AtMark(); }

 private:
  Result<void> BindTo(Context& context, const InetAddress& address);
  Result<size_t> ReceiveUrgent(IoSequence& to, int flags, ReceiveResult& result);
  uint8_t State();
  tcp_info Info();
  void Disconnect();
  Result<void> Establish(Context& context, const InetAddress& to);

  const LocalEndpointRef endpoint_;
  InetOptions options_;
  MulticastGroups groups_;
  std::atomic<uint16_t> claimed_port_{0};
  std::atomic<bool> bound_port_{false};  // named by bind(2)
  // A non-blocking connect has begun: its outcome is told by poll, SO_ERROR or the next connect.
  std::atomic<bool> connecting_{false};
  std::atomic<int> segment_{0};  // TCP_MAXSEG as set
};

}  // namespace sandbox
