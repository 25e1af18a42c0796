#include "sentry/socket/inet/inet_socket.h"

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <sys/ioctl.h>

#include <array>

#include "sentry/socket/interfaces.h"
#include "sentry/socket/net_sysctls.h"

namespace sandbox {
namespace {

// Options kept and read back: on a loopback network they change nothing that could be observed otherwise.
struct KnownOption {
  int level, name, initial;
};
constexpr KnownOption kKnown[] = {
    {IPPROTO_IP, IP_TOS, 0},
    {IPPROTO_IP, IP_TTL, 64},
    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT},
    {IPPROTO_IP, IP_RECVERR, 0},
    {IPPROTO_IP, IP_RECVTOS, 0},
    {IPPROTO_IP, IP_RECVTTL, 0},
    {IPPROTO_IP, IP_PKTINFO, 0},
    {IPPROTO_IP, IP_FREEBIND, 0},
    {IPPROTO_IP, IP_TRANSPARENT, 0},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0},
    {IPPROTO_IP, IP_MULTICAST_TTL, 1},
    {IPPROTO_IP, IP_MULTICAST_LOOP, 1},
    {IPPROTO_IP, IP_MULTICAST_ALL, 1},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1},
    {IPPROTO_IPV6, IPV6_RECVERR, 0},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 0},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, 0},
    {IPPROTO_IPV6, IPV6_TCLASS, 0},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT},
    {IPPROTO_TCP, TCP_NODELAY, 0},
    {IPPROTO_TCP, TCP_CORK, 0},
    {IPPROTO_TCP, TCP_MAXSEG, 65483},
    {IPPROTO_TCP, TCP_KEEPIDLE, 7200},
    {IPPROTO_TCP, TCP_KEEPINTVL, 75},
    {IPPROTO_TCP, TCP_KEEPCNT, 9},
    {IPPROTO_TCP, TCP_SYNCNT, 6},
    {IPPROTO_TCP, TCP_LINGER2, 60},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 0},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, 0},
    {IPPROTO_TCP, TCP_QUICKACK, 1},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 0},
    {IPPROTO_TCP, TCP_FASTOPEN, 0},
    {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0},
};

const KnownOption* FindKnown(int level, int name) {
  for (const KnownOption& option : kKnown) {
    if (option.level == level && option.name == name) return &option;
  }
  return nullptr;
}

}  // namespace

Result<void> InetSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (level == SOL_SOCKET) return Socket::SetOption(context, level, name, value);
  if (level == IPPROTO_TCP && type() != SOCK_STREAM) return Err(ENOPROTOOPT);
  if (level == IPPROTO_IPV6 && family() != AF_INET6) return Err(ENOPROTOOPT);
  if (level == IPPROTO_TCP && name == TCP_CONGESTION) return {};
  // One byte is enough for the options of IPPROTO_IP.
  const int number = level == IPPROTO_IP && value.size() == 1 ? value[0] : TRY(OptionInt(value));
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) {
    v6_only_.store(number != 0);
    return {};
  }
  if (FindKnown(level, name) == nullptr) return Err(ENOPROTOOPT);
  MutexLock lock(options_mu_);
  stored_[{level, name}] = number;
  return {};
}

Result<std::string> InetSocket::GetOption(Context& context, int level, int name) {
  if (level == SOL_SOCKET) return Socket::GetOption(context, level, name);
  // Linux: a level that nobody of the protocol knows.
  const bool known_level = level == IPPROTO_IP || level == IPPROTO_IPV6 ||
                           (level == IPPROTO_TCP && type() == SOCK_STREAM) ||
                           (level == IPPROTO_UDP && type() == SOCK_DGRAM);
  if (!known_level) return Err(EOPNOTSUPP);
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) return OptionBytes(v6_only() ? 1 : 0);
  if (level == IPPROTO_TCP && name == TCP_CONGESTION) return std::string("cubic\0\0\0\0\0\0\0\0\0\0\0", 16);
  const KnownOption* known = FindKnown(level, name);
  if (known == nullptr) return Err(ENOPROTOOPT);
  MutexLock lock(options_mu_);
  auto it = stored_.find({level, name});
  return OptionBytes(it != stored_.end() ? it->second : known->initial);
}

Result<int64_t> InetSocket::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  if (request == SIOCATMARK && type() == SOCK_STREAM) {  // no urgent data here, so never at it
    TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), 0));
    return 0;
  }
  if (request != SIOCINQ && request != SIOCOUTQ) return InterfaceIoctl(context, request, argument);
  const int32_t value = request == SIOCINQ ? static_cast<int32_t>(readable_bytes()) : 0;
  TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), value));
  return 0;
}

Result<BindClaim> InetSocket::MakeClaim(Context& context, const InetAddress& address) {
  if (!address.IsAny() && !address.IsLocal()) return Err(EADDRNOTAVAIL);
  if (address.v4 && family() == AF_INET6 && v6_only()) return Err(EINVAL);
  if (!MayBind(context, address.port)) return Err(EACCES);
  return BindClaim{address, v6_only(), options().reuse_address(), options().reuse_port(), context.creds().euid};
}

Result<InetAddress> InetSocket::Destination(const SocketAddress& raw) const {
  InetAddress address = TRY(InetAddress::Parse(family(), raw));
  if (address.v4 && family() == AF_INET6 && v6_only()) return Err(ENETUNREACH);
  if (address.IsAny()) {
    const uint16_t port = address.port;
    address = InetAddress::Loopback(address.v4);
    address.port = port;
  }
  if (!address.IsLocal()) return Err(ENETUNREACH);
  return address;
}

}  // namespace sandbox
