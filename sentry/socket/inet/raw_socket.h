// SOCK_RAW sockets of AF_INET and AF_INET6 on the sandbox's own network (raw(7)).
#pragma once

#include <optional>

#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/inet/loopback_device.h"
#include "sentry/socket/receive_queue.h"

namespace sandbox {

// What packets are delivered to; the socket owns it.
class RawEndpoint final : public PacketListener {
 public:
  RawEndpoint(int socket_family, int number)
      : options(socket_family, SOCK_RAW, number), family(socket_family), protocol(number) {
    incoming.SetMaxMessages(kMaxPackets);
  }
  void Arrives(const IpPacket& packet) override;

  ReceiveQueue incoming;
  WaitQueue wait_queue;
  InetOptions options;
  const int family, protocol;
  std::atomic<uint32_t> icmp_filter{0};  // ICMP_FILTER: bits of types that are dropped

  std::optional<InetAddress> local() const;
  std::optional<InetAddress> peer() const;
  void SetLocal(const std::optional<InetAddress>& address);
  void SetPeer(const std::optional<InetAddress>& address);

 private:
  static constexpr size_t kMaxPackets = 1024;
  bool Takes(const IpPacket& packet) const;

  mutable Mutex mu_{LockRank::kLeaf};
  std::optional<InetAddress> local_ GUARDED_BY(mu_), peer_ GUARDED_BY(mu_);
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
  std::atomic<bool> header_included_{false}, write_shut_{false};
  std::atomic<int> checksum_at_{-1};  // IPV6_CHECKSUM
};

}  // namespace sandbox
