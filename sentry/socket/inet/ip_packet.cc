#include "sentry/socket/inet/ip_packet.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cstring>

namespace sandbox {
namespace {

constexpr size_t kV4At = 12;  // of the address in its mapped form

template <typename T>
std::string_view Bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

InetAddress FromV4(const void* bytes) {
  InetAddress address = InetAddress::Any(AF_INET);
  std::memcpy(address.bytes.data() + kV4At, bytes, sizeof(in_addr));
  return address;
}

InetAddress FromV6(const in6_addr& bytes) {
  InetAddress address = InetAddress::Any(AF_INET6);
  std::memcpy(address.bytes.data(), &bytes, sizeof(bytes));
  return address;
}

Result<IpPacket> ParseV4(std::string_view bytes) {
  iphdr header;
  if (bytes.size() < sizeof(header)) return Err(EINVAL);
  std::memcpy(&header, bytes.data(), sizeof(header));
  const size_t length = size_t{header.ihl} * 4;
  if (length < sizeof(header) || length > bytes.size()) return Err(EINVAL);
  IpPacket packet;
  packet.from = FromV4(&header.saddr);
  packet.to = FromV4(&header.daddr);
  packet.protocol = header.protocol;
  packet.hops = header.ttl;
  packet.traffic_class = header.tos;
  packet.payload = bytes.substr(length);
  return packet;
}

Result<IpPacket> ParseV6(std::string_view bytes) {
  ip6_hdr header;
  if (bytes.size() < sizeof(header)) return Err(EINVAL);
  std::memcpy(&header, bytes.data(), sizeof(header));
  IpPacket packet;
  packet.from = FromV6(header.ip6_src);
  packet.to = FromV6(header.ip6_dst);
  packet.protocol = header.ip6_nxt;
  packet.hops = header.ip6_hlim;
  packet.traffic_class = static_cast<uint8_t>(ntohl(header.ip6_flow) >> 20);
  packet.payload = bytes.substr(sizeof(header));
  return packet;
}

}  // namespace

uint16_t InternetChecksum(std::string_view data) {
  uint64_t sum = 0;
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(data[i])); };
  for (size_t i = 0; i + 1 < data.size(); i += 2) sum += byte(i) << 8 | byte(i + 1);
  if (data.size() % 2 != 0) sum += byte(data.size() - 1) << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<uint16_t>(~sum));
}

std::string IpPacket::Header() const {
  if (v4()) {
    iphdr header = {};
    header.version = 4;
    header.ihl = sizeof(header) / 4;
    header.tos = traffic_class;
    header.tot_len = htons(static_cast<uint16_t>(std::min(sizeof(header) + payload.size(), kMaxIpPacket)));
    header.frag_off = htons(IP_DF);
    header.ttl = hops;
    header.protocol = protocol;
    std::memcpy(&header.saddr, from.bytes.data() + kV4At, sizeof(header.saddr));
    std::memcpy(&header.daddr, to.bytes.data() + kV4At, sizeof(header.daddr));
    header.check = InternetChecksum(Bytes(header));
    return std::string(Bytes(header));
  }
  ip6_hdr header = {};
  header.ip6_flow = htonl(uint32_t{6} << 28 | uint32_t{traffic_class} << 20);
  header.ip6_plen = htons(static_cast<uint16_t>(std::min(payload.size(), kMaxIpPacket)));
  header.ip6_nxt = protocol;
  header.ip6_hlim = hops;
  std::memcpy(&header.ip6_src, from.bytes.data(), sizeof(header.ip6_src));
  std::memcpy(&header.ip6_dst, to.bytes.data(), sizeof(header.ip6_dst));
  return std::string(Bytes(header));
}

Result<IpPacket> ParseIpPacket(bool v4, std::string_view bytes) { return v4 ? ParseV4(bytes) : ParseV6(bytes); }

uint16_t TransportChecksum(const InetAddress& from, const InetAddress& to, uint8_t protocol, std::string_view payload) {
  const size_t skip = to.v4 ? kV4At : 0;
  std::string covered(reinterpret_cast<const char*>(from.bytes.data()) + skip, from.bytes.size() - skip);
  covered.append(reinterpret_cast<const char*>(to.bytes.data()) + skip, to.bytes.size() - skip);
  const uint32_t number = htonl(protocol), length = htonl(static_cast<uint32_t>(payload.size()));
  covered.append(Bytes(number)).append(Bytes(length)).append(payload);
  return InternetChecksum(covered);
}

std::string MakeUdp(const InetAddress& from, const InetAddress& to, std::string_view data) {
  udphdr header = {};
  header.source = htons(from.port);
  header.dest = htons(to.port);
  header.len = htons(static_cast<uint16_t>(std::min(sizeof(header) + data.size(), kMaxIpPacket)));
  std::string datagram(Bytes(header));
  datagram += data;
  uint16_t sum = TransportChecksum(from, to, IPPROTO_UDP, datagram);
  if (sum == 0) sum = 0xffff;  // zero means "none"
  std::memcpy(datagram.data() + offsetof(udphdr, check), &sum, sizeof(sum));
  return datagram;
}

std::optional<UdpPorts> ParseUdp(std::string_view datagram, std::string_view* data) {
  udphdr header;
  if (datagram.size() < sizeof(header)) return std::nullopt;
  std::memcpy(&header, datagram.data(), sizeof(header));
  const size_t length = ntohs(header.len);
  if (length < sizeof(header) || length > datagram.size()) return std::nullopt;
  *data = datagram.substr(sizeof(header), length - sizeof(header));
  return UdpPorts{ntohs(header.source), ntohs(header.dest)};
}

}  // namespace sandbox
