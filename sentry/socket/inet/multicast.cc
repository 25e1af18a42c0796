#include "sentry/socket/inet/multicast.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace sandbox {
namespace {

template <typename T>
T FromPrefix(OptionIn value) {
  T out{};
  std::memcpy(&out, value.data(), std::min(sizeof(T), value.size()));
  return out;
}

InetAddress FromV4(const in_addr& address) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr = address;
  return *InetAddress::Parse(AF_INET, SocketAddress::From(in));
}

InetAddress FromV6(const in6_addr& address) {
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_addr = address;
  return *InetAddress::Parse(AF_INET6, SocketAddress::From(in6));
}

// What IP_ADD_MEMBERSHIP and IP_MULTICAST_IF take: ip_mreqn, or the older ip_mreq, whose fields it begins with.
Result<ip_mreqn> ParseMreq(OptionIn value) {
  if (value.size() < sizeof(ip_mreq)) return Err(EINVAL);
  auto request = FromPrefix<ip_mreqn>(value);
  if (value.size() < sizeof(ip_mreqn)) request.imr_ifindex = 0;
  return request;
}

}  // namespace

bool MulticastGroups::Handles(int level, int name) {
  if (level == IPPROTO_IP) {
    return name == IP_MULTICAST_IF || name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP ||
           name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP;
  }
  return level == IPPROTO_IPV6 &&
         (name == IPV6_MULTICAST_IF || name == IPV6_ADD_MEMBERSHIP || name == IPV6_DROP_MEMBERSHIP ||
          name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP);
}

Result<MulticastGroups::Change> MulticastGroups::ParseChange(int level, int name, OptionIn value) {
  Change change;
  if (name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP) {
    if (value.size() < sizeof(group_req)) return Err(EINVAL);
    const auto request = FromPrefix<group_req>(value);
    const int wanted = level == IPPROTO_IP ? AF_INET : AF_INET6;
    if (request.gr_group.ss_family != wanted) return Err(EADDRNOTAVAIL);
    change.group = TRY(InetAddress::Parse(wanted, SocketAddress::From(request.gr_group)));
    change.interface = static_cast<int>(request.gr_interface);
    change.join = name == MCAST_JOIN_GROUP;
  } else if (level == IPPROTO_IP) {
    const auto request = TRY(ParseMreq(value));
    change.group = FromV4(request.imr_multiaddr);
    change.interface = request.imr_ifindex;
    change.join = name == IP_ADD_MEMBERSHIP;
    const InetAddress by = FromV4(request.imr_address);
    if (change.interface == 0 && !by.IsAny() && !by.IsLocal()) return Err(change.join ? ENODEV : EADDRNOTAVAIL);
  } else {
    if (value.size() < sizeof(ipv6_mreq)) return Err(EINVAL);
    const auto request = FromPrefix<ipv6_mreq>(value);
    change.group = FromV6(request.ipv6mr_multiaddr);
    change.interface = static_cast<int>(request.ipv6mr_interface);
    change.join = name == IPV6_ADD_MEMBERSHIP;
  }
  if (!change.group.IsMulticast()) return Err(EINVAL);
  if (change.interface != 0 && change.interface != kLoopbackInterface) return Err(ENODEV);
  return change;
}

Result<void> MulticastGroups::SetInterface(int type, int level, OptionIn value) {
  if (level == IPPROTO_IPV6) {
    if (type == SOCK_STREAM) return Err(ENOPROTOOPT);
    const int index = TRY(OptionInt(value));
    if (index != 0 && index != kLoopbackInterface) return Err(ENODEV);
    MutexLock lock(mu_);
    interface_ = index;
    return {};
  }
  if (type == SOCK_STREAM || value.size() < sizeof(in_addr)) return Err(EINVAL);
  const auto request =
      value.size() >= sizeof(ip_mreq) ? TRY(ParseMreq(value)) : ip_mreqn{{}, FromPrefix<in_addr>(value), 0};
  if (request.imr_ifindex != 0 && request.imr_ifindex != kLoopbackInterface) return Err(EADDRNOTAVAIL);
  const InetAddress source = FromV4(request.imr_address);
  if (!source.IsAny() && !source.IsLocal()) return Err(EADDRNOTAVAIL);
  MutexLock lock(mu_);
  source_ = source;
  return {};
}

Result<void> MulticastGroups::Set(int family, int type, int level, int name, OptionIn value) {
  if (level == IPPROTO_IPV6 && family != AF_INET6) return Err(ENOPROTOOPT);
  if (name == (level == IPPROTO_IP ? IP_MULTICAST_IF : IPV6_MULTICAST_IF)) return SetInterface(type, level, value);
  // The newer requests (RFC 3678) are taken from streams too.
  if (type == SOCK_STREAM && name != MCAST_JOIN_GROUP && name != MCAST_LEAVE_GROUP) return Err(EPROTO);
  const Change change = TRY(ParseChange(level, name, value));
  MutexLock lock(mu_);
  if (!change.join) return joined_.erase(change.group.bytes) != 0 ? Result<void>() : Err(EADDRNOTAVAIL);
  if (joined_.size() >= kMaxMemberships) return Err(ENOBUFS);
  return joined_.insert(change.group.bytes).second ? Result<void>() : Err(EADDRINUSE);
}

Result<std::string> MulticastGroups::Get(int level, int name) const {
  MutexLock lock(mu_);
  if (level == IPPROTO_IP && name == IP_MULTICAST_IF) {
    const auto in = source_.ToSocketAddress(AF_INET).As<sockaddr_in>();
    return OptionBytes(&in.sin_addr, sizeof(in.sin_addr));
  }
  if (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF) return OptionBytes(interface_);
  return Err(ENOPROTOOPT);
}

bool MulticastGroups::Joined(const InetAddress& group) const {
  MutexLock lock(mu_);
  return joined_.count(group.bytes) != 0;
}

InetAddress MulticastGroups::source(bool v4) const {
  MutexLock lock(mu_);
  return v4 ? source_ : InetAddress::Any(AF_INET6);
}

}  // namespace sandbox
