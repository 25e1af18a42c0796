#include "sentry/socket/inet/inet_socket.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include "abi/socket.h"
#include "sentry/socket/interfaces.h"
#include "sentry/socket/net_sysctls.h"

namespace sandbox {
namespace {

constexpr int kLoopbackMtu = 65536;

// Who sent a message is asked of sockets between processes only.
bool OfSenders(int name) { return name == SO_PASSCRED || name == SO_PASSSEC || name == abi::kSoPassPidfd; }

}  // namespace

// IPV6_ADDRFORM (ipv6(7)): a connected IPv6 socket whose peer has an IPv4 address becomes an IPv4 socket.
Result<void> InetSocket::BecomeV4(Context& context, OptionIn value) {
  if (TRY(OptionInt(value)) != AF_INET) return Err(EINVAL);
  if (type() == SOCK_RAW) return Err(ENOPROTOOPT);
  if (!has_peer()) return Err(ENOTCONN);
  const InetAddress peer = TRY(InetAddress::Parse(AF_INET6, TRY(PeerAddress(context))));
  if (v6_only() || !peer.v4) return Err(EADDRNOTAVAIL);
  inet_options().set_family(AF_INET);
  set_family(AF_INET);
  return {};
}

Result<void> InetSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (level == SOL_SOCKET && OfSenders(name)) return Err(EOPNOTSUPP);
  if (level == SOL_SOCKET) return Socket::SetOption(context, level, name, value);
  if (level == IPPROTO_IPV6 && name == IPV6_ADDRFORM && family() == AF_INET6) return BecomeV4(context, value);
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && bound()) return Err(EINVAL);
  return inet_options().Set(context, level, name, value);
}

Result<std::string> InetSocket::GetOption(Context& context, int level, int name) {
  if (level == SOL_SOCKET && OfSenders(name)) return Err(EOPNOTSUPP);
  if (level == SOL_SOCKET) return Socket::GetOption(context, level, name);
  if (level == IPPROTO_IP && name == IP_HDRINCL) return OptionBytes(0);
  if ((level == IPPROTO_IP && name == IP_MTU) || (level == IPPROTO_IPV6 && family() == AF_INET6 && name == IPV6_MTU))
    return has_peer() ? Result<std::string>(OptionBytes(kLoopbackMtu)) : Err(ENOTCONN);
  if (level == IPPROTO_IPV6 && name == IPV6_ADDRFORM && family() == AF_INET6 && type() != SOCK_RAW)
    return has_peer() ? Result<std::string>(OptionBytes(family())) : Err(ENOTCONN);
  return OptionBytes(TRY(inet_options().Get(level, name)));
}

Result<int64_t> InetSocket::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  if (request == SIOCATMARK && type() == SOCK_STREAM) {
    TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), at_mark() ? 1 : 0));
    return 0;
  }
  if (request != SIOCINQ && request != SIOCOUTQ) return InterfaceIoctl(context, request, argument);
  const int32_t value = request == SIOCINQ ? static_cast<int32_t>(readable_bytes()) : 0;
  TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), value));
  return 0;
}

Result<BindClaim> InetSocket::MakeClaim(Context& context, const InetAddress& address) {
  const bool group = type() != SOCK_STREAM && (address.IsMulticast() || address.IsBroadcast());
  if (!address.IsAny() && !address.IsLocal() && !group && !inet_options().Value(IPPROTO_IP, IP_FREEBIND))
    return Err(EADDRNOTAVAIL);
  if (address.v4 && family() == AF_INET6 && v6_only()) return Err(EINVAL);
  if (!MayBind(context, address.port)) return Err(EACCES);
  return BindClaim{address, v6_only(), options().reuse_address(), options().reuse_port(), context.creds().euid};
}

Result<InetAddress> InetSocket::Destination(const SocketAddress& raw) {
  InetAddress address = TRY(InetAddress::Parse(family(), raw));
  if (address.v4 && family() == AF_INET6 && v6_only()) return Err(ENETUNREACH);
  if (address.IsAny()) {
    const uint16_t port = address.port;
    address = InetAddress::Loopback(address.v4);
    address.port = port;
  }
  const bool group = type() != SOCK_STREAM && (address.IsMulticast() || address.IsBroadcast());
  if (group && address.IsBroadcast() && !options().broadcast()) return Err(EACCES);
  if (!address.IsLocal() && !group) return Err(ENETUNREACH);
  return address;
}

}  // namespace sandbox
