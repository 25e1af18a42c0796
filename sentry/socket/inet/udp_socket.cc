#include "sentry/socket/inet/udp_socket.h"

#include <netinet/in.h>

#include <cstring>

namespace sandbox {
namespace {

constexpr size_t kMaxDatagram = 65507;  // what fits an IPv4 packet

RefPtr<PortTable<UdpEndpoint>> Ports(NetNamespace& net) { return net.Table<PortTable<UdpEndpoint>>("udp"); }

}  // namespace

std::optional<InetAddress> UdpEndpoint::local() const {
  MutexLock lock(mu_);
  return local_;
}
std::optional<InetAddress> UdpEndpoint::peer() const {
  MutexLock lock(mu_);
  return peer_;
}
void UdpEndpoint::SetLocal(const InetAddress& address) {
  MutexLock lock(mu_);
  local_ = address;
}
void UdpEndpoint::SetPeer(const std::optional<InetAddress>& address) {
  MutexLock lock(mu_);
  peer_ = address;
}
bool UdpEndpoint::Takes(const InetAddress& from) const {
  MutexLock lock(mu_);
  return !peer_ || *peer_ == from;
}

UdpSocket::UdpSocket(int family, int flags)
    : InetSocket(family, SOCK_DGRAM, IPPROTO_UDP, flags), endpoint_(MakeRef<UdpEndpoint>()) {}

UdpSocket::~UdpSocket() {
  if (const uint16_t port = claimed_port_.load()) Ports(net())->Release(port, endpoint_.get());
  endpoint_->incoming.Clear();
}

Result<void> UdpSocket::BindTo(Context& context, const InetAddress& address) {
  if (claimed_port_.load() != 0) return Err(EINVAL);
  BindClaim claim = TRY(MakeClaim(context, address));
  claim.address.port = TRY(Ports(net())->Claim(claim, endpoint_));
  claimed_port_.store(claim.address.port);
  endpoint_->SetLocal(claim.address);
  return {};
}

Result<void> UdpSocket::EnsureBound(Context& context) {
  if (claimed_port_.load() != 0) return {};
  return BindTo(context, InetAddress::Any(family()));
}

Result<void> UdpSocket::Bind(const SocketCaller& caller, const SocketAddress& address) {
  return BindTo(caller.context, TRY(InetAddress::Parse(family(), address)));
}

Result<void> UdpSocket::Connect(const SocketCaller& caller, const SocketAddress& address) {
  if (address.size < sizeof(sa_family_t)) return Err(EINVAL);
  if (address.family() == AF_UNSPEC) {
    endpoint_->SetPeer(std::nullopt);
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

Result<void> UdpSocket::Shutdown(Context&, int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return Err(EINVAL);
  if (!endpoint_->peer()) return Err(ENOTCONN);
  if (how != SHUT_RD) write_shut_.store(true);
  if (how != SHUT_WR) endpoint_->incoming.FinishReading();
  endpoint_->wait_queue.Notify(kReadable | kWritable | kEventHup);
  return {};
}

Result<size_t> UdpSocket::Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) {
  if (request.flags & MSG_OOB) return Err(EOPNOTSUPP);
  if (const int error = TakeError()) return Err(error);
  if (write_shut_.load()) return Err(EPIPE);
  const auto peer = endpoint_->peer();
  if (request.to.empty() && !peer) return Err(EDESTADDRREQ);
  const InetAddress to = request.to.empty() ? *peer : TRY(Destination(request.to));
  if (to.port == 0) return Err(EINVAL);
  const size_t size = from.remaining();
  if (size > kMaxDatagram) return Err(EMSGSIZE);
  TRY(EnsureBound(caller.context));
  SocketMessage message;
  message.bytes = MakeRef<SocketBytes>(size);
  message.length = size;
  if (size > 0 && TRY(from.CopyIn(message.bytes->data.get(), size)) != size) return Err(EFAULT);
  InetAddress own = *endpoint_->local();
  if (own.IsAny()) {
    const uint16_t port = own.port;
    own = InetAddress::Loopback(to.v4);
    own.port = port;
  }
  message.from = own.ToSocketAddress(AF_INET6);  // the receiver writes it in its own family
  for (const auto& receiver : Ports(net())->Find(to)) {
    if (!receiver->Takes(own)) continue;
    (void)receiver->incoming.Push(std::move(message));  // a full queue loses the datagram, as UDP does
    receiver->wait_queue.Notify(kReadable);
    return size;
  }
  // Nobody there: a connected sender is told at its next call (ICMP port unreachable).
  if (peer) {
    endpoint_->error.store(ECONNREFUSED);
    endpoint_->wait_queue.Notify(kEventErr);
  }
  return size;
}

Result<size_t> UdpSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  if (flags & MSG_OOB) return Err(EOPNOTSUPP);
  if (flags & MSG_ERRQUEUE) return Err(EAGAIN);
  if (const int error = TakeError()) return Err(error);
  bool freed = false;
  const auto got = endpoint_->incoming.ReadPacket(to, flags, result, &freed);
  result.control.credentials.reset();
  if (got.ok() && !result.from.empty()) {
    result.from = TRY(InetAddress::Parse(AF_INET6, result.from)).ToSocketAddress(family());
  }
  return got;
}

EventMask UdpSocket::Readiness(Context&, EventMask) {
  EventMask events = kWritable;
  if (endpoint_->error.load() != 0) events |= kEventErr;
  if (endpoint_->incoming.HasData()) events |= kReadable;
  if (endpoint_->incoming.ReaderFinished()) {
    events |= kReadable | kEventRdHup;
    if (write_shut_.load()) events |= kEventHup;
  }
  return events;
}

}  // namespace sandbox
