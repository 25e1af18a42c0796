// IPv4 and IPv6 packets as bytes, for sockets that see or make headers (raw(7), packet(7)). Packets of the sandbox's
// own network have no options, extensions or fragments.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sentry/socket/inet/inet_address.h"

namespace sandbox {

inline constexpr size_t kMaxIpPacket = 65535;

// One packet: what its header says, and the rest.
struct IpPacket {
  InetAddress from, to;  // without ports
  uint8_t protocol = 0;
  uint8_t hops = 64;
  uint8_t traffic_class = 0;
  std::string payload;

  bool v4() const { return to.v4; }
  std::string Header() const;
};

// RFC 1071, in network order.
uint16_t InternetChecksum(std::string_view data);

// The checksum of an upper protocol, over a header of addresses too (RFC 768, RFC 8200), in network order. The bytes
// where it will stand are zero.
uint16_t TransportChecksum(const InetAddress& from, const InetAddress& to, uint8_t protocol, std::string_view payload);

// The header that a guest wrote in front of its data (IP_HDRINCL): EINVAL when it is not one. Linux fills in lengths,
// checksum and, when it is zero, the source.
Result<IpPacket> ParseIpPacket(bool v4, std::string_view bytes);

// A UDP datagram with its header and checksum, as the payload of a packet between these; and back. Nullopt when it is
// malformed.
std::string MakeUdp(const InetAddress& from, const InetAddress& to, std::string_view data);
struct UdpPorts {
  uint16_t from = 0, to = 0;
};
std::optional<UdpPorts> ParseUdp(std::string_view datagram, std::string_view* data);

}  // namespace sandbox
