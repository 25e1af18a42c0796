// The network interfaces a sandbox shows (netdevice(7), rtnetlink(7)). With --network=none there is the loopback
// interface only; other providers set their own before the first guest instruction.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "sentry/core/context.h"

namespace sandbox {

struct InterfaceAddress {
  int family = 0;                      // AF_INET, AF_INET6
  uint8_t prefix = 0;                  // bits
  uint8_t scope = 0;                   // RT_SCOPE_*
  std::array<uint8_t, 16> bytes = {};  // network order; the first four for AF_INET
  size_t size() const;
};

struct NetInterface {
  int index = 0;
  std::string name;
  uint32_t flags = 0;  // IFF_*
  uint16_t type = 0;   // ARPHRD_*
  uint32_t mtu = 0;
  std::array<uint8_t, 6> hardware = {};
  std::vector<InterfaceAddress> addresses;
};

const std::vector<NetInterface>& NetInterfaces();
void SetNetInterfaces(std::vector<NetInterface> interfaces);

// SIOCGIFCONF, SIOCGIFFLAGS … of any socket; ENOTTY for other requests, EPERM for those that change something.
Result<int64_t> InterfaceIoctl(Context& context, uint32_t request, uint64_t argument);

}  // namespace sandbox
