#include "sentry/socket/inet/raw_socket.h"

#include <linux/capability.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "sentry/socket/inet/packet_details.h"
#include "sentry/time/clock.h"

namespace sandbox {
namespace {

constexpr int kIcmpFilter = 1;    // ICMP_FILTER
constexpr int kIpv6Checksum = 7;  // IPV6_CHECKSUM

InetAddress WithoutPort(InetAddress address) {
  address.port = 0;
  return address;
}

}  // namespace

bool RawEndpoint::Takes(const IpPacket& packet) const {
  if (packet.v4() != (family == AF_INET) || packet.protocol != protocol) return false;
  if (protocol == IPPROTO_ICMP && !packet.payload.empty()) {
    const auto type = static_cast<uint8_t>(packet.payload[0]);
    if (type < 32 && (icmp_filter.load() >> type & 1)) return false;
  }
  const auto own = local(), other = peer();
  if (own && !own->IsAny() && !own->SameHost(packet.to)) return false;
  return !other || other->SameHost(packet.from);
}

// IPv4 with its header, IPv6 without.
void RawEndpoint::Arrives(const IpPacket& packet) {
  if (!Takes(packet)) return;
  std::string bytes = packet.v4() ? packet.Header() + packet.payload : packet.payload;
  if (const PacketFilterRef filter = incoming.filter()) {
    bytes.resize(filter->Run(bytes, {.protocol = static_cast<uint16_t>(packet.v4() ? ETH_P_IP : ETH_P_IPV6),
                                     .interface = kLoopbackInterface,
                                     .hardware = ARPHRD_LOOPBACK}));
    if (bytes.empty()) return;
  }
  SocketMessage message;
  message.bytes = MakeRef<SocketBytes>(bytes.size());
  message.length = bytes.size();
  std::memcpy(message.bytes->data.get(), bytes.data(), bytes.size());
  message.from = packet.from.ToSocketAddress(family);
  auto details = std::make_shared<PacketDetails>();
  details->to = packet.to;
  details->hops = packet.hops;
  details->traffic_class = packet.traffic_class;
  details->realtime_ns = ReadClockNs(CLOCK_REALTIME).value_or(0);
  message.details = std::move(details);
  (void)incoming.Push(std::move(message));  // a full queue loses it
  wait_queue.Notify(kReadable);
}

Result<SocketRef> RawSocket::Make(Context& context, int family, int protocol, int flags) {
  if (protocol == 0) return Err(EPROTONOSUPPORT);
  if (!context.creds().HasIn(*context.net()->owner(), CAP_NET_RAW)) return Err(EPERM);
  auto socket = MakeRef<RawSocket>(family, protocol, flags);
  socket->set_net(context.net());
  // What is sent with its own header is of any protocol, and none comes back.
  if (protocol != IPPROTO_RAW) LoopbackDevice::Of(socket->net())->Add(socket->endpoint_);
  return SocketRef(std::move(socket));
}

RawSocket::RawSocket(int family, int protocol, int flags)
    : InetSocket(family, SOCK_RAW, protocol, flags), endpoint_(MakeRef<RawEndpoint>(family, protocol)) {
  header_included_.store(protocol == IPPROTO_RAW);
  if (protocol == IPPROTO_ICMPV6) checksum_at_.store(offsetof(icmp6hdr, icmp6_cksum));
}

RawSocket::~RawSocket() {
  LoopbackDevice::Of(net())->Remove(endpoint_.get());
  endpoint_->incoming.Clear();
}

Result<void> RawSocket::Bind(const SocketCaller& caller, const SocketAddress& address) {
  const InetAddress wanted = WithoutPort(TRY(InetAddress::Parse(family(), address)));
  if (has_peer()) return Err(EINVAL);
  (void)TRY(MakeClaim(caller.context, wanted));
  endpoint_->SetLocal(wanted);
  return {};
}

Result<void> RawSocket::Connect(const SocketCaller&, const SocketAddress& address) {
  if (address.size < sizeof(sa_family_t)) return Err(EINVAL);
  if (address.family() == AF_UNSPEC) {
    endpoint_->SetPeer(std::nullopt);
    return {};
  }
  const InetAddress to = TRY(Destination(address));
  if (const auto local = endpoint_->local(); !local || local->IsAny()) endpoint_->SetLocal(WithoutPort(to));
  endpoint_->SetPeer(to);
  return {};
}

// Linux numbers raw sockets by their protocol, and shows that as the port.
Result<SocketAddress> RawSocket::LocalAddress(Context&) {
  InetAddress local = endpoint_->local().value_or(InetAddress::Any(family()));
  local.port = static_cast<uint16_t>(protocol());
  return local.ToSocketAddress(family());
}

Result<SocketAddress> RawSocket::PeerAddress(Context&) {
  const auto peer = endpoint_->peer();
  if (!peer) return Err(ENOTCONN);
  return peer->ToSocketAddress(family());
}

Result<void> RawSocket::Shutdown(Context&, int how) { return endpoint_->Shutdown(how); }

Result<size_t> RawSocket::Send(const SocketCaller&, IoSequence& from, SendRequest& request) {
  if (request.flags & MSG_OOB) return Err(EOPNOTSUPP);
  const size_t size = from.remaining();
  if (size > kMaxIpPacket) return Err(EMSGSIZE);
  const auto peer = endpoint_->peer();
  if (request.to.empty() && !peer) return Err(EDESTADDRREQ);
  const InetAddress to = request.to.empty() ? *peer : TRY(Destination(request.to));
  const SendDetails details = TRY(ParseSendDetails(family(), request.control));
  if (endpoint_->write_shut()) return Err(EPIPE);
  std::string bytes(size, '\0');
  if (size > 0 && TRY(from.CopyIn(bytes.data(), size)) != size) return Err(EFAULT);
  IpPacket packet;
  InetAddress source = endpoint_->local().value_or(InetAddress::Any(family()));
  if (details.source) source = *details.source;
  if (source.IsAny() || source.IsMulticast()) {
    source = to.IsMulticast() || to.IsBroadcast() ? InetAddress::Loopback(to.v4) : to;
  }
  if (header_included()) {
    packet = TRY(ParseIpPacket(family() == AF_INET, bytes));
    if (packet.from.IsAny()) packet.from = WithoutPort(source);
    packet.to = WithoutPort(to);
  } else {
    const bool v4 = to.v4;
    const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    const InetOptions& own = endpoint_->options;
    packet.from = WithoutPort(source);
    packet.to = WithoutPort(to);
    packet.protocol = static_cast<uint8_t>(protocol());
    packet.hops = static_cast<uint8_t>(details.hops.value_or(own.Value(level, v4 ? IP_TTL : IPV6_UNICAST_HOPS)));
    packet.traffic_class =
        static_cast<uint8_t>(details.traffic_class.value_or(own.Value(level, v4 ? IP_TOS : IPV6_TCLASS)));
    packet.payload = std::move(bytes);
    if (const int at = checksum_at_.load(); !v4 && at >= 0) {
      uint16_t sum = 0;
      if (static_cast<size_t>(at) + sizeof(sum) > packet.payload.size()) return Err(EINVAL);
      std::memset(packet.payload.data() + at, 0, sizeof(sum));
      sum = TransportChecksum(packet.from, packet.to, packet.protocol, packet.payload);
      std::memcpy(packet.payload.data() + at, &sum, sizeof(sum));
    }
  }
  LoopbackDevice::Of(net())->Transmit(net(), packet);
  return size;
}

Result<size_t> RawSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  if (flags & MSG_OOB) return Err(EOPNOTSUPP);
  if (flags & MSG_ERRQUEUE) return Err(EAGAIN);
  bool freed = false;
  const auto got = endpoint_->incoming.ReadPacket(to, flags, result, &freed);
  result.control.credentials.reset();
  if (got.ok() && result.details) {
    AppendTimestamp(options().timestamp_option(), result.details->realtime_ns, result.control);
    AppendDetails(*result.details, family(), endpoint_->options, result.control);
  }
  return got;
}

Result<void> RawSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (level == IPPROTO_IP && name == IP_HDRINCL && family() == AF_INET) {
    header_included_.store((value.size() >= sizeof(int) ? TRY(OptionInt(value)) : value.empty() ? 0 : value[0]) != 0);
    return {};
  }
  if (level == IPPROTO_IPV6 && name == IPV6_HDRINCL && family() == AF_INET6) {
    header_included_.store(TRY(OptionInt(value)) != 0);
    return {};
  }
  if (level == SOL_RAW && name == kIcmpFilter && family() == AF_INET) {
    if (protocol() != IPPROTO_ICMP) return Err(EOPNOTSUPP);
    uint32_t filter = 0;
    std::memcpy(&filter, value.data(), std::min(value.size(), sizeof(filter)));
    endpoint_->icmp_filter.store(filter);
    return {};
  }
  if ((level == SOL_RAW || level == IPPROTO_IPV6) && name == kIpv6Checksum && family() == AF_INET6) {
    const int at = TRY(OptionInt(value));
    // The protocol's own checksum is not to be chosen (RFC 3542, 3.1).
    if ((protocol() == IPPROTO_ICMPV6 && level == IPPROTO_IPV6) || (at > 0 && at % 2 != 0)) return Err(EINVAL);
    checksum_at_.store(std::max(at, -1));
    return {};
  }
  if (level == IPPROTO_ICMPV6 && name == ICMPV6_FILTER && protocol() == IPPROTO_ICMPV6) return {};
  TRY(InetSocket::SetOption(context, level, name, value));
  if (level == SOL_SOCKET && name == SO_RCVBUF) endpoint_->incoming.SetLimit(options().receive_buffer());
  return {};
}

Result<std::string> RawSocket::GetOption(Context& context, int level, int name) {
  if ((level == IPPROTO_IP && name == IP_HDRINCL && family() == AF_INET) ||
      (level == IPPROTO_IPV6 && name == IPV6_HDRINCL && family() == AF_INET6)) {
    return OptionBytes(header_included() ? 1 : 0);
  }
  if (level == SOL_RAW && name == kIcmpFilter && family() == AF_INET) {
    if (protocol() != IPPROTO_ICMP) return Err(EOPNOTSUPP);
    return OptionBytes(static_cast<int>(endpoint_->icmp_filter.load()));
  }
  if ((level == SOL_RAW || level == IPPROTO_IPV6) && name == kIpv6Checksum && family() == AF_INET6) {
    return OptionBytes(checksum_at_.load());
  }
  return InetSocket::GetOption(context, level, name);
}

SocketSummary RawSocket::Summary(Context& context) {
  SocketSummary summary = Socket::Summary(context);
  endpoint_->Summarize(summary);
  return summary;
}

EventMask RawSocket::Readiness(Context&, EventMask) { return endpoint_->Readiness(); }

}  // namespace sandbox
