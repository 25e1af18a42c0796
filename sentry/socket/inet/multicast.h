// The groups a datagram socket has joined and the interface it sends to groups by (ip(7) IP_ADD_MEMBERSHIP,
// IP_MULTICAST_IF; ipv6(7) IPV6_JOIN_GROUP; RFC 3678 MCAST_JOIN_GROUP). Without a network the loopback interface
// carries all groups.
#pragma once

#include <set>

#include "base/mutex.h"
#include "sentry/socket/inet/inet_address.h"
#include "sentry/socket/options.h"

namespace sandbox {

class MulticastGroups {
 public:
  static bool Handles(int level, int name);
  // EINVAL for what is no group, ENODEV without such an interface, EADDRINUSE joined already, EADDRNOTAVAIL not joined,
  // EPROTO on a stream socket.
  Result<void> Set(int family, int type, int level, int name, OptionIn value);
  // IP_MULTICAST_IF and IPV6_MULTICAST_IF; ENOPROTOOPT for the others.
  Result<std::string> Get(int level, int name) const;

  bool Joined(const InetAddress& group) const;
  // The address that IP_MULTICAST_IF names, any if none.
  InetAddress source(bool v4) const;

 private:
  static constexpr size_t kMaxMemberships = 20;  // net.ipv4.igmp_max_memberships
  using Group = std::array<uint8_t, 16>;
  struct Change {
    InetAddress group;
    int interface = 0;
    bool join = false;
  };
  static Result<Change> ParseChange(int level, int name, OptionIn value);
  Result<void> SetInterface(int type, int level, OptionIn value);

  mutable Mutex mu_{LockRank::kLeaf};
  std::set<Group> joined_ GUARDED_BY(mu_);
  InetAddress source_ GUARDED_BY(mu_) = InetAddress::Any(AF_INET);
  int interface_ GUARDED_BY(mu_) = 0;  // IPV6_MULTICAST_IF
};

}  // namespace sandbox
