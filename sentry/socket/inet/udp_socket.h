// UDP and UDP-Lite between sockets of one sandbox (udp(7), udplite(7)).
#pragma once

#include <deque>
#include <optional>

#include "sentry/socket/inet/datagram_endpoint.h"
#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/inet/multicast.h"
#include "sentry/socket/inet/packet_details.h"

namespace sandbox {

// What datagrams are delivered to; the socket owns it.
class UdpEndpoint final : public DatagramEndpoint {
 public:
  UdpEndpoint(int family, int protocol) : DatagramEndpoint(family, SOCK_DGRAM, protocol) {}
  MulticastGroups groups;
  std::atomic<int> error{0};
  std::atomic<bool> stamps{false};          // SO_TIMESTAMP or a relative
  bool listening() const { return false; }  // for PortTable: datagram ports are shared by SO_REUSEADDR alone

  // A connected socket takes datagrams from its peer only, and of groups those it asked for.
  bool Takes(const InetAddress& from, const InetAddress& to) const;
  bool WantsDetails() const { return options.wants_details() || stamps.load(std::memory_order_relaxed); }

  // IP_RECVERR: datagrams that came back, with their destination.
  struct Returned {
    std::string bytes;
    InetAddress to;
    int error = 0;
  };
  void QueueError(Returned&& returned);
  std::optional<Returned> TakeReturned();
  bool HasReturned() const;

 private:
  static constexpr size_t kMaxReturned = 64;
  mutable Mutex returned_mu_{LockRank::kLeaf};
  std::deque<Returned> returned_ GUARDED_BY(returned_mu_);
};

// A datagram as it arrives.
struct UdpArrival {
  InetAddress from;
  uint8_t hops = 0, traffic_class = 0;
};
// Gives a datagram to whom it is for in `net`; false when nobody was there.
bool DeliverUdp(NetNamespace& net, int protocol, const UdpArrival& arrival, const InetAddress& to,
                SocketMessage&& message);

class UdpSocket final : public InetSocket {
 public:
  // `protocol`: IPPROTO_UDP or IPPROTO_UDPLITE, which have ports of their own.
  UdpSocket(int family, int protocol, int flags);
  ~UdpSocket() override;

  Result<void> Bind(const SocketCaller& caller, const SocketAddress& address) override;
  Result<void> Connect(const SocketCaller& caller, const SocketAddress& address) override;
  Result<SocketAddress> LocalAddress(Context& context) override;
  Result<SocketAddress> PeerAddress(Context& context) override;
  Result<void> Shutdown(Context& context, int how) override;
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;
  Result<std::string> GetOption(Context& context, int level, int name) override;
  SocketSummary Summary(Context& context) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &endpoint_->wait_queue; }

 protected:
  int TakeError() override { return endpoint_->error.exchange(0); }
  bool bound() const override { return claimed_port_.load() != 0; }
  bool has_peer() const override { return endpoint_->peer().has_value(); }
  ReceiveQueue* peek_queue() override { return &endpoint_->incoming; }
  ReceiveQueue* filtered_queue() override { return &endpoint_->incoming; }
  size_t readable_bytes() const override { return endpoint_->incoming.next_packet_bytes(); }
  InetOptions& inet_options() override { return endpoint_->options; }

 private:
  RefPtr<PortTable<UdpEndpoint>> Ports() const;
  Result<void> BindTo(Context& context, const InetAddress& address);
  Result<void> EnsureBound(Context& context);
  void Unname();
  InetAddress Source(const InetAddress& to, const SendDetails& details) const;
  // Gives the message to whom it is for; false when nobody was there.
  bool Deliver(const InetAddress& from, const InetAddress& to, const SendDetails& details, SocketMessage&& message);
  struct Datagram {
    InetAddress to;
    bool connected = false;  // to the peer
    SendDetails details;
    std::string bytes;  // of one that gathers
  };
  Result<size_t> SendHeld(IoSequence& from, Datagram&& datagram, bool more);
  void SendGathered();
  void SendOne(const Datagram& datagram, SocketMessage&& message);
  void Refused(const InetAddress& to, bool connected, const SocketMessage& message);
  Result<size_t> ReceiveReturned(IoSequence& to, ReceiveResult& result);

  const RefPtr<UdpEndpoint> endpoint_;
  Mutex cork_mu_{LockRank::kLeaf};
  std::optional<Datagram> cork_ GUARDED_BY(cork_mu_);
  std::atomic<uint16_t> claimed_port_{0};
  std::atomic<bool> bound_address_{false}, bound_port_{false};  // named by bind(2) (Linux: SOCK_BINDADDR_LOCK …)
};

}  // namespace sandbox
