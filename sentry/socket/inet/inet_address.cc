#include "sentry/socket/inet/inet_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace sandbox {
namespace {

constexpr size_t kV4Offset = 12;
constexpr size_t kV6MinSize = 24;  // Linux: SIN6_LEN_RFC2133, without the scope

void SetMapped(InetAddress& address, const void* four) {
  address.v4 = true;
  address.bytes = {};
  address.bytes[10] = address.bytes[11] = 0xff;
  std::memcpy(address.bytes.data() + kV4Offset, four, 4);
}

}  // namespace

InetAddress InetAddress::Any(int family) {
  InetAddress address;
  const uint32_t zero = 0;
  if (family == AF_INET) SetMapped(address, &zero);
  return address;
}

InetAddress InetAddress::Loopback(bool v4) {
  InetAddress address;
  const uint32_t loopback = htonl(INADDR_LOOPBACK);
  if (v4) {
    SetMapped(address, &loopback);
  } else {
    address.bytes[15] = 1;
  }
  return address;
}

Result<InetAddress> InetAddress::Parse(int socket_family, const SocketAddress& raw) {
  InetAddress address;
  if (socket_family == AF_INET) {
    if (raw.size < sizeof(sockaddr_in)) return Err(EINVAL);
    const auto in = raw.As<sockaddr_in>();
    // Linux takes AF_UNSPEC with the any address for AF_INET.
    if (in.sin_family != AF_INET && !(in.sin_family == AF_UNSPEC && in.sin_addr.s_addr == 0)) return Err(EAFNOSUPPORT);
    SetMapped(address, &in.sin_addr);
    address.port = ntohs(in.sin_port);
    return address;
  }
  if (raw.size < kV6MinSize) return Err(EINVAL);
  const auto in6 = raw.As<sockaddr_in6>();
  if (in6.sin6_family != AF_INET6) return Err(EAFNOSUPPORT);
  if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
    SetMapped(address, reinterpret_cast<const uint8_t*>(&in6.sin6_addr) + kV4Offset);
  } else {
    std::memcpy(address.bytes.data(), &in6.sin6_addr, address.bytes.size());
  }
  address.port = ntohs(in6.sin6_port);
  return address;
}

SocketAddress InetAddress::ToSocketAddress(int socket_family) const {
  if (socket_family == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, bytes.data() + kV4Offset, sizeof(in.sin_addr));
    return SocketAddress::From(in);
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  std::memcpy(&in6.sin6_addr, bytes.data(), bytes.size());
  return SocketAddress::From(in6);
}

bool InetAddress::IsAny() const {
  const auto* begin = bytes.data() + (v4 ? kV4Offset : 0);
  return std::all_of(begin, bytes.data() + bytes.size(), [](uint8_t b) { return b == 0; });
}

bool InetAddress::IsMulticast() const { return v4 ? (bytes[kV4Offset] & 0xf0) == 0xe0 : bytes[0] == 0xff; }

bool InetAddress::IsBroadcast() const {
  const uint8_t* b = bytes.data() + kV4Offset;
  return v4 && (b[0] == 255 || b[0] == 127) && b[1] == 255 && b[2] == 255 && b[3] == 255;
}

// The sandbox's own network has a loopback interface only.
bool InetAddress::IsLocal() const {
  if (v4) return bytes[kV4Offset] == 127 && !IsBroadcast();
  const auto last = bytes.end() - 1;
  return *last == 1 && std::all_of(bytes.begin(), last, [](uint8_t b) { return b == 0; });
}

}  // namespace sandbox
