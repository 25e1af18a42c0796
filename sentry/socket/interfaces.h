// The network that a sandbox shows: interfaces, addresses and routes (netdevice(7), rtnetlink(7)). With --network=none
// there is the loopback interface only; another provider says where to ask before the first guest instruction.
#pragma once

#include <linux/if_link.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sentry/core/context.h"

namespace sandbox {

using InternetAddress = std::array<uint8_t, 16>;  // network order; the first four bytes for AF_INET

inline constexpr size_t AddressSize(int family) { return family == 2 /* AF_INET */ ? 4 : 16; }

struct InterfaceAddress {
  int family = 0;      // AF_INET, AF_INET6
  uint8_t prefix = 0;  // bits
  uint8_t scope = 0;   // RT_SCOPE_*
  InternetAddress bytes = {};
  InternetAddress broadcast = {};  // AF_INET; all zero = none
  uint32_t flags = 0;              // IFA_F_*
  size_t size() const { return AddressSize(family); }
};

struct NetInterface {
  int index = 0;
  std::string name;
  uint32_t flags = 0;  // IFF_*
  uint16_t type = 0;   // ARPHRD_*
  uint32_t mtu = 0;
  uint32_t queue_length = 1000;
  uint8_t operational = 0;  // IF_OPER_*
  int link = 0;             // index of the other end, 0 = none
  std::string queueing = "noqueue";
  std::array<uint8_t, 6> hardware = {}, broadcast = {};
  rtnl_link_stats64 statistics = {};
  std::vector<InterfaceAddress> addresses;
};

struct NetRoute {
  int family = 0;
  uint8_t prefix = 0;                         // bits of `destination`
  uint32_t table = 0;                         // RT_TABLE_*
  uint8_t protocol = 0, scope = 0, type = 0;  // RTPROT_*, RT_SCOPE_*, RTN_*
  uint32_t flags = 0;                         // RTNH_F_*
  int interface = 0;
  uint32_t priority = 0;
  InternetAddress destination = {}, gateway = {}, source = {};  // gateway and source: all zero = none
};

struct NetState {
  std::vector<NetInterface> interfaces;  // ascending index
  std::vector<NetRoute> routes;
};

// As it is now, in the caller's network namespace.
NetState CurrentNetState(Context& context);
// Of the initial namespace; others have a loopback interface of their own.
void SetNetSource(std::function<NetState()> source);

bool IsZero(const InternetAddress& address);
// The route to an address: of the local table before the main one, the longest prefix, the lowest priority. Null when
// there is none.
const NetRoute* FindRoute(const NetState& state, int family, const InternetAddress& to);

// SIOCGIFCONF, SIOCGIFFLAGS … of any socket; ENOTTY for other requests, EPERM for those that change something.
Result<int64_t> InterfaceIoctl(Context& context, uint32_t request, uint64_t argument);

}  // namespace sandbox
