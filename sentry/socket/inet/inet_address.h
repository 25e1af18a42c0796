// Addresses of AF_INET and AF_INET6 in one form: IPv4 as mapped IPv6 (RFC 4291, 2.5.5.2).
#pragma once

#include <array>
#include <cstdint>

#include "base/result.h"
#include "sentry/socket/address.h"

namespace sandbox {

struct InetAddress {
  std::array<uint8_t, 16> bytes = {};
  uint16_t port = 0;  // host order
  bool v4 = false;

  static InetAddress Any(int family);
  static InetAddress Loopback(bool v4);
  // EINVAL when too short, EAFNOSUPPORT for another family. IPv6 sockets take mapped addresses.
  static Result<InetAddress> Parse(int socket_family, const SocketAddress& address);
  SocketAddress ToSocketAddress(int socket_family) const;

  bool IsAny() const;
  bool IsBroadcast() const;  // 255.255.255.255
  // Reachable without a network: loopback and the addresses of our interfaces.
  bool IsLocal() const;
  bool SameHost(const InetAddress& other) const { return bytes == other.bytes; }
  friend bool operator==(const InetAddress&, const InetAddress&) = default;
};

}  // namespace sandbox
