#include "sentry/socket/inet/udp_socket.h"

#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/udp.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "sentry/socket/inet/loopback_device.h"
#include "sentry/time/clock.h"

namespace sandbox {
namespace {

constexpr size_t kMaxLength = 65535;  // of any packet
constexpr size_t kMaxDatagram4 = 65507, kMaxDatagram6 = 65527;
size_t MaxDatagram(const InetAddress& to) { return to.v4 ? kMaxDatagram4 : kMaxDatagram6; }

// Chooses among sockets that share a port: the same for all datagrams of one sender.
uint32_t Spread(const InetAddress& from) {
  uint32_t hash = from.port * 2654435761u;
  for (const uint8_t byte : from.bytes) hash = hash * 31 + byte;
  return hash >> 16;
}

RefPtr<PortTable<UdpEndpoint>> UdpPortsOf(NetNamespace& net, int protocol) {
  return net.Table<PortTable<UdpEndpoint>>(protocol == IPPROTO_UDPLITE ? "udplite" : "udp");
}

// The receiver's filter, which sees the header too; false when it drops the message.
bool Filtered(const ReceiveQueue& queue, const InetAddress& from, const InetAddress& to, SocketMessage& message) {
  const PacketFilterRef filter = queue.filter();
  if (filter == nullptr) return true;
  const std::string datagram = MakeUdp(from, to, {message.data(), message.length});
  const size_t header = datagram.size() - message.length;
  const size_t kept = filter->Run(datagram, {.protocol = static_cast<uint16_t>(to.v4 ? ETH_P_IP : ETH_P_IPV6),
                                             .interface = kLoopbackInterface,
                                             .hardware = ARPHRD_LOOPBACK});
  if (kept == 0) return false;
  message.length = std::min(message.length, std::max(kept, header) - header);
  return true;
}

constexpr size_t kMaxQuoted = 520;  // bytes of a datagram that fit the ICMP message about it

// Where Linux puts IP_RECVERR's item: the error, and who reported it.
struct ReturnedItem {
  sock_extended_err error{};
  sockaddr_in offender{};
};
struct ReturnedItem6 {
  sock_extended_err error{};
  sockaddr_in6 offender{};
};

}  // namespace

bool UdpEndpoint::Takes(const InetAddress& from, const InetAddress& to) const {
  if (const auto other = peer(); other && !(*other == from)) return false;
  if (!to.IsMulticast()) return true;
  return groups.Joined(to) ||
         options.Value(to.v4 ? IPPROTO_IP : IPPROTO_IPV6, to.v4 ? IP_MULTICAST_ALL : IPV6_MULTICAST_ALL);
}

void UdpEndpoint::QueueError(Returned&& returned) {
  MutexLock lock(returned_mu_);
  if (returned_.size() < kMaxReturned) returned_.push_back(std::move(returned));
}

std::optional<UdpEndpoint::Returned> UdpEndpoint::TakeReturned() {
  MutexLock lock(returned_mu_);
  if (returned_.empty()) return std::nullopt;
  std::optional<Returned> first = std::move(returned_.front());
  returned_.pop_front();
  error.store(returned_.empty() ? 0 : returned_.front().error);
  return first;
}

bool UdpEndpoint::HasReturned() const {
  MutexLock lock(returned_mu_);
  return !returned_.empty();
}

UdpSocket::UdpSocket(int family, int protocol, int flags)
    : InetSocket(family, SOCK_DGRAM, protocol, flags), endpoint_(MakeRef<UdpEndpoint>(family, protocol)) {}

RefPtr<PortTable<UdpEndpoint>> UdpSocket::Ports() const { return UdpPortsOf(net(), protocol()); }

UdpSocket::~UdpSocket() {
  if (const uint16_t port = claimed_port_.load()) Ports()->Release(port, endpoint_.get());
  endpoint_->incoming.Clear();
}

Result<void> UdpSocket::BindTo(Context& context, const InetAddress& address) {
  if (claimed_port_.load() != 0) return Err(EINVAL);
  BindClaim claim = TRY(MakeClaim(context, address));
  claim.address.port = TRY(Ports()->Claim(claim, endpoint_));
  claimed_port_.store(claim.address.port);
  endpoint_->SetLocal(claim.address);
  return {};
}

Result<void> UdpSocket::EnsureBound(Context& context) {
  if (claimed_port_.load() != 0) return {};
  return BindTo(context, InetAddress::Any(family()));
}

Result<void> UdpSocket::Bind(const SocketCaller& caller, const SocketAddress& address) {
  const InetAddress wanted = TRY(InetAddress::Parse(family(), address));
  TRY(BindTo(caller.context, wanted));
  bound_address_.store(!wanted.IsAny());
  bound_port_.store(wanted.port != 0);
  return {};
}

// What bind(2) did not choose goes with the peer (Linux: __udp_disconnect).
void UdpSocket::Unname() {
  auto local = endpoint_->local();
  if (!local) return;
  if (!bound_address_.load()) {
    const uint16_t port = local->port;
    local = InetAddress::Any(family());
    local->port = port;
  }
  if (!bound_port_.load()) {
    if (const uint16_t port = claimed_port_.exchange(0)) Ports()->Release(port, endpoint_.get());
    local->port = 0;
  }
  endpoint_->SetLocal(*local);
}

Result<void> UdpSocket::Connect(const SocketCaller& caller, const SocketAddress& address) {
  if (address.size < sizeof(sa_family_t)) return Err(EINVAL);
  if (address.family() == AF_UNSPEC) {
    endpoint_->SetPeer(std::nullopt);
    Unname();
    return {};
  }
  const InetAddress to = TRY(Destination(address));
  TRY(EnsureBound(caller.context));
  // A wildcard name becomes the address that reaches the peer.
  InetAddress local = *endpoint_->local();
  if (local.IsAny()) {
    const uint16_t port = local.port;
    local = to;
    local.port = port;
    endpoint_->SetLocal(local);
  }
  endpoint_->SetPeer(to);
  return {};
}

Result<SocketAddress> UdpSocket::LocalAddress(Context&) {
  return endpoint_->local().value_or(InetAddress::Any(family())).ToSocketAddress(family());
}

Result<SocketAddress> UdpSocket::PeerAddress(Context&) {
  const auto peer = endpoint_->peer();
  if (!peer) return Err(ENOTCONN);
  return peer->ToSocketAddress(family());
}

Result<void> UdpSocket::Shutdown(Context&, int how) { return endpoint_->Shutdown(how); }

InetAddress UdpSocket::Source(const InetAddress& to, const SendDetails& details) const {
  InetAddress own = *endpoint_->local();
  if (details.source) {
    own.bytes = details.source->bytes;
    own.v4 = details.source->v4;
  } else if (own.IsAny() || own.IsMulticast()) {
    InetAddress source = to.IsMulticast() ? endpoint_->groups.source(to.v4) : InetAddress::Any(AF_INET6);
    if (source.IsAny()) source = to.IsMulticast() || to.IsBroadcast() ? InetAddress::Loopback(to.v4) : to;
    source.port = own.port;
    own = source;
  }
  return own;
}

bool DeliverUdp(NetNamespace& net, int protocol, const UdpArrival& arrival, const InetAddress& to,
                SocketMessage&& message) {
  const bool everyone = to.IsMulticast() || to.IsBroadcast();
  bool found = false;
  message.from = arrival.from.ToSocketAddress(AF_INET6);  // the receiver writes it in its own family
  for (const auto& receiver : UdpPortsOf(net, protocol)->Find(to, Spread(arrival.from))) {
    if (!receiver->Takes(arrival.from, to)) continue;
    if (receiver->WantsDetails() && message.details == nullptr) {
      auto all = std::make_shared<PacketDetails>();
      all->to = to;
      all->hops = arrival.hops;
      all->traffic_class = arrival.traffic_class;
      all->realtime_ns = ReadClockNs(CLOCK_REALTIME).value_or(0);
      message.details = std::move(all);
    }
    found = true;
    // The bytes are shared. A full queue loses the datagram, as UDP does.
    SocketMessage copy = message.Glimpse();
    if (!Filtered(receiver->incoming, arrival.from, to, copy)) continue;
    (void)receiver->incoming.Push(std::move(copy));
    receiver->wait_queue.Notify(kReadable);
    if (!everyone) break;
  }
  return found || everyone;
}

bool UdpSocket::Deliver(const InetAddress& from, const InetAddress& to, const SendDetails& details,
                        SocketMessage&& message) {
  const bool everyone = to.IsMulticast() || to.IsBroadcast();
  const int level = to.v4 ? IPPROTO_IP : IPPROTO_IPV6;
  const int hops_option = to.v4      ? (everyone ? IP_MULTICAST_TTL : IP_TTL)
                          : everyone ? IPV6_MULTICAST_HOPS
                                     : IPV6_UNICAST_HOPS;
  const InetOptions& own = endpoint_->options;
  const auto number = [](int value) { return static_cast<uint8_t>(value); };
  const UdpArrival arrival{
      .from = from,
      .hops = number(details.hops.value_or(own.Value(level, hops_option))),
      .traffic_class = number(details.traffic_class.value_or(own.Value(level, to.v4 ? IP_TOS : IPV6_TCLASS)))};
  if (const auto device = LoopbackDevice::Of(net()); device->watched() && protocol() == IPPROTO_UDP) {
    IpPacket packet{.from = from,
                    .to = to,
                    .protocol = IPPROTO_UDP,
                    .hops = arrival.hops,
                    .traffic_class = arrival.traffic_class,
                    .payload = MakeUdp(from, to, {message.data(), message.length})};
    packet.from.port = packet.to.port = 0;
    device->Show(packet);
  }
  return DeliverUdp(net(), protocol(), arrival, to, std::move(message));
}

// ICMP port unreachable: a connected sender is told at its next call, one with IP_RECVERR gets the datagram back.
void UdpSocket::Refused(const InetAddress& to, bool connected, const SocketMessage& message) {
  const bool wants_back =
      endpoint_->options.Value(to.v4 ? IPPROTO_IP : IPPROTO_IPV6, to.v4 ? IP_RECVERR : IPV6_RECVERR);
  if (!connected && !wants_back) return;
  if (wants_back)
    endpoint_->QueueError({std::string(message.data(), std::min(message.length, kMaxQuoted)), to, ECONNREFUSED});
  endpoint_->error.store(ECONNREFUSED);
  endpoint_->wait_queue.Notify(kEventErr);
}

Result<size_t> UdpSocket::Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) {
  if (request.flags & MSG_OOB) return Err(EOPNOTSUPP);
  if (const int error = TakeError()) return Err(error);
  const size_t size = from.remaining();
  if (size > kMaxLength) return Err(EMSGSIZE);
  const auto peer = endpoint_->peer();
  const bool held = [&] {
    MutexLock lock(cork_mu_);
    return cork_.has_value();
  }();
  if (!held && request.to.empty() && !peer) return Err(EDESTADDRREQ);
  const bool more = (request.flags & MSG_MORE) || endpoint_->options.Value(IPPROTO_UDP, UDP_CORK) != 0;
  Datagram datagram;
  if (!held) {
    datagram.to = request.to.empty() ? *peer : TRY(Destination(request.to));
    datagram.connected = peer && request.to.empty();
    if (datagram.to.port == 0) return Err(EINVAL);
    datagram.details = TRY(ParseSendDetails(family(), request.control));
  }
  if (endpoint_->write_shut()) return Err(EPIPE);
  TRY(EnsureBound(caller.context));
  if (!held && !more) {
    if (size > MaxDatagram(datagram.to)) return Err(EMSGSIZE);
    SocketMessage message;
    message.bytes = MakeRef<SocketBytes>(size);
    message.length = size;
    if (size > 0 && TRY(from.CopyIn(message.bytes->data.get(), size)) != size) return Err(EFAULT);
    SendOne(datagram, std::move(message));
    return size;
  }
  return SendHeld(from, std::move(datagram), more);
}

// MSG_MORE and UDP_CORK: data gathers until one datagram of all of it goes (udp(7)). The first call said where to.
Result<size_t> UdpSocket::SendHeld(IoSequence& from, Datagram&& datagram, bool more) {
  std::string bytes(from.remaining(), '\0');
  if (!bytes.empty() && TRY(from.CopyIn(bytes.data(), bytes.size())) != bytes.size()) return Err(EFAULT);
  {
    MutexLock lock(cork_mu_);
    if (!cork_) cork_ = std::move(datagram);
    if (cork_->bytes.size() + bytes.size() > MaxDatagram(cork_->to)) {
      cork_.reset();
      return Err(EMSGSIZE);
    }
    cork_->bytes += bytes;
  }
  if (!more) SendGathered();
  return bytes.size();
}

void UdpSocket::SendGathered() {
  std::optional<Datagram> gathered;
  {
    MutexLock lock(cork_mu_);
    gathered.swap(cork_);
  }
  if (!gathered) return;
  SocketMessage message;
  message.length = gathered->bytes.size();
  message.bytes = MakeRef<SocketBytes>(message.length);
  std::memcpy(message.bytes->data.get(), gathered->bytes.data(), message.length);
  SendOne(*gathered, std::move(message));
}

void UdpSocket::SendOne(const Datagram& datagram, SocketMessage&& message) {
  const InetAddress own = Source(datagram.to, datagram.details);
  if (!Deliver(own, datagram.to, datagram.details, message.Glimpse()))
    Refused(datagram.to, datagram.connected, message);
}

Result<size_t> UdpSocket::ReceiveReturned(IoSequence& to, ReceiveResult& result) {
  const auto returned = endpoint_->TakeReturned();
  if (!returned) return Err(EAGAIN);
  sock_extended_err error{};
  error.ee_errno = returned->error;
  error.ee_origin = returned->to.v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
  error.ee_type = returned->to.v4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
  error.ee_code = returned->to.v4 ? ICMP_PORT_UNREACH : ICMPV6_PORT_UNREACH;
  InetAddress offender = returned->to;
  offender.port = 0;
  if (family() == AF_INET) {
    const ReturnedItem item{error, offender.ToSocketAddress(AF_INET).As<sockaddr_in>()};
    result.control.items.push_back({IPPROTO_IP, IP_RECVERR, OptionBytes(&item, sizeof(item))});
  } else {
    const ReturnedItem6 item{error, offender.ToSocketAddress(AF_INET6).As<sockaddr_in6>()};
    result.control.items.push_back({IPPROTO_IPV6, IPV6_RECVERR, OptionBytes(&item, sizeof(item))});
  }
  result.from = returned->to.ToSocketAddress(family());
  result.flags |= MSG_ERRQUEUE;
  const size_t copied =
      returned->bytes.empty() || to.empty() ? 0 : TRY(to.CopyOut(returned->bytes.data(), returned->bytes.size()));
  if (copied < returned->bytes.size()) result.flags |= MSG_TRUNC;
  return copied;
}

Result<size_t> UdpSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  if (flags & MSG_OOB) return Err(EOPNOTSUPP);
  if (flags & MSG_ERRQUEUE) return ReceiveReturned(to, result);
  if (const int error = TakeError()) return Err(error);
  bool freed = false;
  const auto got = endpoint_->incoming.ReadPacket(to, flags, result, &freed);
  result.control.credentials.reset();
  if (got.ok() && !result.from.empty()) {
    result.from = TRY(InetAddress::Parse(AF_INET6, result.from)).ToSocketAddress(family());
  }
  if (got.ok() && endpoint_->WantsDetails()) {
    // What arrived before the option was set is stamped now, as Linux does.
    const int64_t arrived = result.details ? result.details->realtime_ns : ReadClockNs(CLOCK_REALTIME).value_or(0);
    if (!result.from.empty()) AppendTimestamp(options().timestamp_option(), arrived, result.control);
    if (result.details) AppendDetails(*result.details, family(), endpoint_->options, result.control);
  }
  return got;
}

Result<void> UdpSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (MulticastGroups::Handles(level, name)) return endpoint_->groups.Set(family(), type(), level, name, value);
  TRY(InetSocket::SetOption(context, level, name, value));
  if (level == IPPROTO_UDP && name == UDP_CORK && endpoint_->options.Value(level, name) == 0) SendGathered();
  if (level == SOL_SOCKET && name == SO_RCVBUF) endpoint_->incoming.SetLimit(options().receive_buffer());
  if (level == SOL_SOCKET) endpoint_->stamps.store(options().timestamp_option() != 0);
  return {};
}

Result<std::string> UdpSocket::GetOption(Context& context, int level, int name) {
  if (MulticastGroups::Handles(level, name)) return endpoint_->groups.Get(level, name);
  return InetSocket::GetOption(context, level, name);
}

SocketSummary UdpSocket::Summary(Context& context) {
  SocketSummary summary = Socket::Summary(context);
  endpoint_->Summarize(summary);
  return summary;
}

EventMask UdpSocket::Readiness(Context&, EventMask) {
  const bool failed = endpoint_->error.load() != 0 || endpoint_->HasReturned();
  return endpoint_->Readiness() | (failed ? kEventErr : EventMask{});
}

}  // namespace sandbox
