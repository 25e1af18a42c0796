#include "sentry/socket/inet/host_socket.h"

#include <linux/capability.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>

#include "sentry/core/outside.h"
#include "sentry/socket/inet/host_network.h"
#include "sentry/socket/inet/icmp_socket.h"
#include "sentry/socket/inet/inet_address.h"
#include "sentry/socket/interfaces.h"
#include "sentry/socket/net_sysctls.h"

namespace sandbox {
namespace {

constexpr size_t kMaxTransfer = 256 * 1024;  // of a stream, in one host call; a datagram is smaller
constexpr int kMaxOption = 256;

class HostFamily final : public SocketFamily {
 public:
  explicit HostFamily(int family) : family_(family) {}
  Result<SocketRef> Create(Context& context, int type, int protocol, int flags) override {
    if (type == SOCK_RAW) return CreateRaw(context, protocol, flags);
    if (type != SOCK_STREAM && type != SOCK_DGRAM) return Err(ESOCKTNOSUPPORT);
    if (type == SOCK_DGRAM && protocol == Icmp() && !MayPing(context)) return Err(EACCES);
    UniqueFd fd = TRY(Open(type, protocol));
    return SocketRef(MakeRef<HostSocket>(family_, type, protocol, flags, std::move(fd)));
  }
  // socketpair(2): what socket(2) would refuse is refused alike, the rest has no pairs.
  Result<std::pair<SocketRef, SocketRef>> CreatePair(Context& context, int type, int protocol, int flags) override {
    TRY(Create(context, type, protocol, flags));
    return Err(EOPNOTSUPP);
  }

 private:
  int Icmp() const { return family_ == AF_INET ? IPPROTO_ICMP : static_cast<int>(IPPROTO_ICMPV6); }
  Result<UniqueFd> Open(int type, int protocol) const {
    UniqueFd fd(::socket(family_, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
    if (!fd.valid()) return LastErrno();
    return fd;
  }
  // The sentry has no raw sockets of the host's; those that ping stand on its ICMP sockets.
  Result<SocketRef> CreateRaw(Context& context, int protocol, int flags) const {
    if (!context.creds().HasIn(*context.net()->owner(), CAP_NET_RAW)) return Err(EPERM);
    if (protocol != Icmp()) return Err(EPROTONOSUPPORT);
    UniqueFd fd = TRY(Open(SOCK_DGRAM, protocol));
    return SocketRef(TRY(IcmpSocket::Make(family_, flags, std::move(fd))));
  }

  const int family_;
};

// Options handed to the host: plain values only, none that holds a pointer or attaches code.
bool PassesOption(int level, int name) {
  if (level == IPPROTO_TCP)
    return name != TCP_ULP && name != TCP_MD5SIG && name != TCP_ZEROCOPY_RECEIVE && name != TCP_REPAIR;
  if (level == IPPROTO_IP) {
    return name == IP_TOS || name == IP_TTL || name == IP_MTU_DISCOVER || name == IP_RECVERR || name == IP_PKTINFO ||
           name == IP_RECVTTL || name == IP_RECVTOS || name == IP_MULTICAST_TTL || name == IP_MULTICAST_LOOP ||
           name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP || name == IP_BIND_ADDRESS_NO_PORT || name == IP_MTU;
  }
  if (level == IPPROTO_IPV6) {
    return name == IPV6_V6ONLY || name == IPV6_UNICAST_HOPS || name == IPV6_MULTICAST_HOPS ||
           name == IPV6_MULTICAST_LOOP || name == IPV6_RECVERR || name == IPV6_RECVPKTINFO || name == IPV6_TCLASS ||
           name == IPV6_RECVTCLASS || name == IPV6_MTU_DISCOVER || name == IPV6_JOIN_GROUP || name == IPV6_LEAVE_GROUP;
  }
  return level == SOL_SOCKET &&
         (name == SO_REUSEADDR || name == SO_REUSEPORT || name == SO_BROADCAST || name == SO_KEEPALIVE ||
          name == SO_LINGER || name == SO_SNDBUF || name == SO_RCVBUF || name == SO_OOBINLINE || name == SO_ERROR ||
          name == SO_ACCEPTCONN || name == SO_RCVLOWAT);
}

PortBinder& Binder() {
  static PortBinder binder;
  return binder;
}

const sockaddr* Raw(const SocketAddress& address) { return reinterpret_cast<const sockaddr*>(address.bytes.data()); }

// The sandbox's own loopback device is not the host's, and frames of the host's are none of a guest's business.
class NoPackets final : public SocketFamily {
 public:
  Result<SocketRef> Create(Context&, int, int, int) override { return Err(EAFNOSUPPORT); }
};

}  // namespace

void UseHostNetwork() {
  static NoPackets packet;
  RegisterOuterSocketFamily(AF_PACKET, &packet);
  static HostFamily v4(AF_INET), v6(AF_INET6);
  RegisterOuterSocketFamily(AF_INET, &v4);
  RegisterOuterSocketFamily(AF_INET6, &v6);
  const auto network = HostNetwork::Open();
  // Without it guests see loopback, and can use the rest.
  if (network.ok()) SetNetSource([asked = *network] { return asked->Query(); });
}

void SetPortBinder(PortBinder binder) { Binder() = std::move(binder); }

HostSocket::HostSocket(int family, int type, int protocol, int flags, UniqueFd fd)
    : Socket(family, type, protocol, flags), fd_(std::move(fd)), pollable_(fd_.borrow()) {}

Errno HostSocket::WouldBlock(Errno error, EventMask events) {
  if (error.value() == EAGAIN) pollable_.Arm(events);
  return error;
}

Result<void> HostSocket::Bind(const SocketCaller& caller, const SocketAddress& address) {
  // The host's rule is lifted for the sentry where that can be; guests have their own.
  const auto name = InetAddress::Parse(family(), address);
  if (name.ok() && type() != SOCK_RAW && !MayBind(caller.context, name->port)) return Err(EACCES);
  if (::bind(fd_.get(), Raw(address), address.size) == 0) return {};
  const Errno error = LastErrno();
  if (error.value() != EACCES || !name.ok() || !Binder()) return error;
  const size_t size = family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  return Binder()(fd_.borrow(), {reinterpret_cast<const char*>(Raw(address)), size});
}

Result<void> HostSocket::Listen(Context&, int backlog) {
  if (::listen(fd_.get(), backlog) != 0) return LastErrno();
  return {};
}

Result<SocketRef> HostSocket::Accept(Context&, int flags) {
  UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.valid()) return WouldBlock(LastErrno(), kReadable);
  return SocketRef(MakeRef<HostSocket>(family(), type(), protocol(), flags, std::move(fd)));
}

Result<void> HostSocket::Connect(const SocketCaller&, const SocketAddress& address) {
  // A path name cannot hide here: the kernel compares the family with the socket's.
  if (::connect(fd_.get(), Raw(address), address.size) != 0) return LastErrno();
  return {};
}

Result<void> HostSocket::FinishConnect(Context&) {
  if ((pollable_.State(kEventOut) & (kEventOut | kEventErr | kEventHup)) == 0) {
    pollable_.Arm(kEventOut);
    return Err(EAGAIN);
  }
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return LastErrno();
  return error != 0 ? Result<void>(Err(error)) : Result<void>();
}

Result<SocketAddress> HostSocket::LocalAddress(Context&) {
  SocketAddress address;
  socklen_t size = address.bytes.size();
  if (::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(address.bytes.data()), &size) != 0) return LastErrno();
  address.size = std::min<socklen_t>(size, address.bytes.size());
  return address;
}

Result<SocketAddress> HostSocket::PeerAddress(Context&) {
  SocketAddress address;
  socklen_t size = address.bytes.size();
  if (::getpeername(fd_.get(), reinterpret_cast<sockaddr*>(address.bytes.data()), &size) != 0) return LastErrno();
  address.size = std::min<socklen_t>(size, address.bytes.size());
  return address;
}

Result<void> HostSocket::Shutdown(Context&, int how) {
  if (::shutdown(fd_.get(), how) != 0) return LastErrno();
  return {};
}

Result<size_t> HostSocket::Send(const SocketCaller&, IoSequence& from, SendRequest& request) {
  const size_t size = std::min(from.remaining(), kMaxTransfer);
  if (!is_stream() && size < from.remaining()) return Err(EMSGSIZE);
  const auto bytes = std::make_unique_for_overwrite<char[]>(size);
  const size_t copied = size > 0 ? TRY(from.PeekIn(bytes.get(), size)) : 0;
  if (!is_stream() && copied != size) return Err(EFAULT);
  SettleOutside();
  int flags =
      (request.flags & (MSG_OOB | MSG_DONTROUTE | MSG_EOR | MSG_MORE | MSG_CONFIRM)) | MSG_DONTWAIT | MSG_NOSIGNAL;
  if (size < from.remaining()) flags &= ~MSG_OOB;  // the last byte of all is the urgent one
  const sockaddr* to = request.to.empty() ? nullptr : Raw(request.to);
  const ssize_t sent = ::sendto(fd_.get(), bytes.get(), copied, flags, to, request.to.size);
  if (sent < 0) return WouldBlock(LastErrno(), kWritable);
  from.Advance(sent);
  return static_cast<size_t>(sent);
}

Result<size_t> HostSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  const size_t size = std::min(to.remaining(), kMaxTransfer);
  const auto bytes = std::make_unique_for_overwrite<char[]>(size);
  SocketAddress from;
  iovec iov{bytes.get(), size};
  msghdr message{};
  message.msg_name = from.bytes.data();
  message.msg_namelen = from.bytes.size();
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  const int host_flags = (flags & (MSG_PEEK | MSG_OOB | MSG_TRUNC)) | MSG_DONTWAIT;
  const ssize_t got = ::recvmsg(fd_.get(), &message, host_flags);
  if (got < 0) return WouldBlock(LastErrno(), kReadable);
  if (!is_stream()) from.size = std::min<socklen_t>(message.msg_namelen, from.bytes.size());
  const size_t filled = std::min<size_t>(got, size);
  // MSG_TRUNC makes a stream drop the bytes instead of delivering them (tcp(7)).
  if (filled > 0 && !(is_stream() && (flags & MSG_TRUNC))) {
    if (TRY(to.CopyOut(bytes.get(), filled)) != filled) return Err(EFAULT);
  }
  result.from = from;
  result.flags = message.msg_flags & (MSG_TRUNC | MSG_OOB | MSG_EOR);
  return static_cast<size_t>(got);
}

Result<void> HostSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (!PassesOption(level, name)) return Socket::SetOption(context, level, name, value);
  if (::setsockopt(fd_.get(), level, name, value.data(), value.size()) != 0) return LastErrno();
  return {};
}

Result<std::string> HostSocket::GetOption(Context& context, int level, int name) {
  if (!PassesOption(level, name)) return Socket::GetOption(context, level, name);
  char value[kMaxOption];
  socklen_t size = sizeof(value);
  if (::getsockopt(fd_.get(), level, name, value, &size) != 0) return LastErrno();
  return std::string(value, size);
}

SocketSummary HostSocket::Summary(Context& context) {
  constexpr uint8_t kEstablished = 1, kClose = 7, kListen = 10;  // net/tcp_states.h
  SocketSummary summary = Socket::Summary(context);
  summary.state = summary.peer.empty() ? kClose : kEstablished;
  if (type() == SOCK_STREAM) {
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (::getsockopt(fd_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0) summary.state = info.tcpi_state;
  }
  summary.listening = summary.state == kListen;
  int32_t queued = 0;
  if (!summary.listening && ::ioctl(fd_.get(), SIOCINQ, &queued) == 0) summary.to_receive = queued;
  if (!summary.listening && ::ioctl(fd_.get(), SIOCOUTQ, &queued) == 0) summary.to_send = queued;
  return summary;
}

EventMask HostSocket::Readiness(Context&, EventMask interest) {
  const EventMask state = pollable_.State(interest);
  pollable_.Arm(interest & ~state & ~kEventAlways);
  return state;
}

Result<int64_t> HostSocket::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  if (request != SIOCINQ && request != SIOCOUTQ && request != SIOCATMARK)
    return InterfaceIoctl(context, request, argument);
  int32_t queued = 0;
  if (::ioctl(fd_.get(), request, &queued) != 0) return LastErrno();
  TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), queued));
  return 0;
}

}  // namespace sandbox
