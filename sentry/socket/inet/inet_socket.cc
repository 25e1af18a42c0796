#include "sentry/socket/inet/inet_socket.h"

#include <linux/capability.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>

#include "sentry/socket/inet/inet_options.h"
#include "sentry/socket/interfaces.h"

namespace sandbox {
namespace {

constexpr uint16_t kFirstUnprivilegedPort = 1024;  // net.ipv4.ip_unprivileged_port_start

// Names of congestion control that may be chosen; the first is the default.
constexpr std::array<std::string_view, 2> kCongestion = {"cubic", "reno"};
constexpr size_t kCongestionNameMax = 16;  // TCP_CA_NAME_MAX

// Joining and leaving groups: nobody sends to groups on a loopback network.
bool IsMembership(int level, int name) {
  if (level == IPPROTO_IP) {
    return name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP || name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP;
  }
  return level == IPPROTO_IPV6 && (name == IPV6_ADD_MEMBERSHIP || name == IPV6_DROP_MEMBERSHIP ||
                                   name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP);
}

}  // namespace

Result<void> InetSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (level == SOL_SOCKET) return Socket::SetOption(context, level, name, value);
  if (level == IPPROTO_TCP && type() != SOCK_STREAM) return Err(ENOPROTOOPT);
  if (level == IPPROTO_IPV6 && family() != AF_INET6) return Err(ENOPROTOOPT);
  if (level == IPPROTO_TCP && name == TCP_CONGESTION) return SetCongestion(value);
  if (level == IPPROTO_UDP && type() != SOCK_DGRAM) return Err(ENOPROTOOPT);
  if (IsMembership(level, name)) return {};
  // One byte is enough for the options of IPPROTO_IP.
  const int number = level == IPPROTO_IP && value.size() == 1 ? value[0] : TRY(OptionInt(value));
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) {
    v6_only_.store(number != 0);
    return {};
  }
  const InetOption* const option = FindInetOption(level, name);
  if (option == nullptr) return Err(ENOPROTOOPT);
  int kept = TRY(option->Accept(number));
  // The congestion bits of a stream are its connection's.
  if (level == IPPROTO_IP && name == IP_TOS && type() == SOCK_STREAM) kept &= ~3;
  MutexLock lock(options_mu_);
  stored_[{level, name}] = kept;
  return {};
}

Result<void> InetSocket::SetCongestion(OptionIn value) {
  const std::string_view given(reinterpret_cast<const char*>(value.data()), std::min(value.size(), kCongestionNameMax - 1));
  const std::string_view name = given.substr(0, given.find('\0'));
  const auto known = std::find(kCongestion.begin(), kCongestion.end(), name);
  if (known == kCongestion.end()) return Err(ENOENT);
  congestion_.store(static_cast<size_t>(known - kCongestion.begin()));
  return {};
}

Result<std::string> InetSocket::GetOption(Context& context, int level, int name) {
  if (level == SOL_SOCKET) return Socket::GetOption(context, level, name);
  // Linux: a level that nobody of the protocol knows.
  const bool known_level = level == IPPROTO_IP || level == IPPROTO_IPV6 ||
                           (level == IPPROTO_TCP && type() == SOCK_STREAM) ||
                           (level == IPPROTO_UDP && type() == SOCK_DGRAM);
  if (!known_level) return Err(EOPNOTSUPP);
  if (level == IPPROTO_IPV6 && family() != AF_INET6) return Err(EOPNOTSUPP);
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) return OptionBytes(v6_only() ? 1 : 0);
  if (level == IPPROTO_TCP && name == TCP_CONGESTION) {
    std::string text(kCongestion[congestion_.load()]);
    text.resize(kCongestionNameMax);
    return text;
  }
  if ((level == IPPROTO_IP && name == IP_MTU) || (level == IPPROTO_IPV6 && name == IPV6_MTU)) return Err(ENOTCONN);
  if (level == IPPROTO_IP && name == IP_OPTIONS) return std::string();
  const InetOption* const option = FindInetOption(level, name);
  if (option == nullptr) return Err(ENOPROTOOPT);
  MutexLock lock(options_mu_);
  auto it = stored_.find({level, name});
  return OptionBytes(it != stored_.end() ? it->second : option->initial);
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
  if (address.port != 0 && address.port < kFirstUnprivilegedPort &&
      !context.creds().HasIn(*context.net()->owner(), CAP_NET_BIND_SERVICE)) {
    return Err(EACCES);
  }
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
  if (type() == SOCK_DGRAM && address.IsBroadcast() && !options().broadcast()) return Err(EACCES);
  if (!address.IsLocal()) return Err(ENETUNREACH);
  return address;
}

}  // namespace sandbox
