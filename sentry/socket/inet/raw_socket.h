// SOCK_RAW sockets of AF_INET and AF_INET6 on the sandbox's own network (raw(7)).
#pragma once

#include "sentry/socket/inet/datagram_endpoint.h"
#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/inet/loopback_device.h"

namespace sandbox {

// What packets are delivered to; the socket owns it.
class RawEndpoint final : public PacketListener, public DatagramEndpoint {
 public:
  RawEndpoint(int socket_family, int number)
      : DatagramEndpoint(socket_family, SOCK_RAW, number), family(socket_family), protocol(number) {}
  void Arrives(const IpPacket& packet) override;

  const int family, protocol;
  std::atomic<uint32_t> icmp_filter{0};  // ICMP_FILTER: bits of types that are dropped

 private:
  bool Takes(const IpPacket& packet) const;
};

class RawSocket final : public InetSocket {
 public:
  // EPROTONOSUPPORT, EPERM.
  static Result<SocketRef> Make(Context& context, int family, int protocol, int flags);
  RawSocket(int family, int protocol, int flags);
  ~RawSocket() override;

  Result<void> Bind(const SocketCaller& caller, const SocketAddress& address) override;
  Result<void> Connect(const SocketCaller& caller, const SocketAddress& address) override;
  Result<SocketAddress> LocalAddress(Context& context) override;
  Result<SocketAddress> PeerAddress(Context& context) override;
  Result<void> Shutdown(Context& context, int how) override;
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;
  Result<std::string> GetOption(Context& context, int level, int name) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &endpoint_->wait_queue; }
  SocketSummary Summary(Context& context) override;

 protected:
  bool bound() const override { return endpoint_->local().has_value(); }
  bool has_peer() const override { return endpoint_->peer().has_value(); }
  ReceiveQueue* filtered_queue() override { return &endpoint_->incoming; }
  size_t readable_bytes() const override { return endpoint_->incoming.next_packet_bytes(); }
  InetOptions& inet_options() override { return endpoint_->options; }

 private:
  bool header_included() const { return header_included_.load(std::memory_order_relaxed); }

  const RefPtr<RawEndpoint> endpoint_;
  std::atomic<bool> header_included_{false};
  std::atomic<int> checksum_at_{-1};  // IPV6_CHECKSUM
};

}  // namespace sandbox
