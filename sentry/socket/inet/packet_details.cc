#include "sentry/socket/inet/packet_details.h"

#include <netinet/in.h>
#include <sys/time.h>
#include <time.h>

#include <cstring>

namespace sandbox {
namespace {

using Item = SocketControl::Item;

template <typename T>
Result<T> Payload(const Item& item) {
  if (item.payload.size() != sizeof(T)) return Err(EINVAL);
  T out;
  std::memcpy(&out, item.payload.data(), sizeof(out));
  return out;
}

template <typename T>
void Append(SocketControl& control, int level, int type, const T& value) {
  control.items.push_back({level, type, OptionBytes(&value, sizeof(value))});
}

Result<void> CheckInterface(int index) {
  return index == 0 || index == kLoopbackInterface ? Result<void>() : Err(ENODEV);
}

Result<int> Number(const Item& item, int min, int max) {
  const int value = TRY(Payload<int>(item));
  if (value < min || value > max) return Err(EINVAL);
  return value;
}

Result<void> ParseSource(const InetAddress& source, SendDetails& details) {
  if (source.IsAny()) return {};
  if (!source.IsLocal()) return Err(EINVAL);
  details.source = source;
  return {};
}

// Linux: ip_cmsg_send.
Result<void> ParseV4(const Item& item, SendDetails& details) {
  switch (item.type) {
    case IP_PKTINFO: {
      const auto info = TRY(Payload<in_pktinfo>(item));
      TRY(CheckInterface(info.ipi_ifindex));
      sockaddr_in in{};
      in.sin_family = AF_INET;
      in.sin_addr = info.ipi_spec_dst;
      return ParseSource(TRY(InetAddress::Parse(AF_INET, SocketAddress::From(in))), details);
    }
    case IP_TTL:
      details.hops = TRY(Number(item, 1, 255));
      return {};
    case IP_TOS:
      details.traffic_class =
          item.payload.size() == 1 ? static_cast<uint8_t>(item.payload[0]) : TRY(Number(item, 0, 255));
      return {};
    default:
      return Err(EINVAL);
  }
}

// Linux: ip6_datagram_send_ctl.
Result<void> ParseV6(const Item& item, SendDetails& details) {
  switch (item.type) {
    case IPV6_PKTINFO: {
      const auto info = TRY(Payload<in6_pktinfo>(item));
      TRY(CheckInterface(static_cast<int>(info.ipi6_ifindex)));
      sockaddr_in6 in6{};
      in6.sin6_family = AF_INET6;
      in6.sin6_addr = info.ipi6_addr;
      return ParseSource(TRY(InetAddress::Parse(AF_INET6, SocketAddress::From(in6))), details);
    }
    case IPV6_HOPLIMIT:
    case IPV6_TCLASS: {
      const int value = TRY(Number(item, -1, 255));
      if (value >= 0) (item.type == IPV6_HOPLIMIT ? details.hops : details.traffic_class) = value;
      return {};
    }
    case IPV6_DONTFRAG:
      TRY(Number(item, 0, 1));
      return {};
    default:
      return Err(EINVAL);
  }
}

void AppendV4(const PacketDetails& details, const InetOptions& options, SocketControl& control) {
  const auto in = details.to.ToSocketAddress(AF_INET).As<sockaddr_in>();
  if (options.Value(IPPROTO_IP, IP_PKTINFO)) {
    in_pktinfo info{};
    info.ipi_ifindex = kLoopbackInterface;
    info.ipi_addr = info.ipi_spec_dst = in.sin_addr;
    Append(control, IPPROTO_IP, IP_PKTINFO, info);
  }
  if (options.Value(IPPROTO_IP, IP_RECVTTL)) Append(control, IPPROTO_IP, IP_TTL, int{details.hops});
  if (options.Value(IPPROTO_IP, IP_RECVTOS)) Append(control, IPPROTO_IP, IP_TOS, details.traffic_class);
  if (options.Value(IPPROTO_IP, IP_RECVORIGDSTADDR)) Append(control, IPPROTO_IP, IP_ORIGDSTADDR, in);
}

void AppendV6(const PacketDetails& details, const InetOptions& options, SocketControl& control) {
  if (options.Value(IPPROTO_IPV6, IPV6_RECVHOPLIMIT)) Append(control, IPPROTO_IPV6, IPV6_HOPLIMIT, int{details.hops});
  if (options.Value(IPPROTO_IPV6, IPV6_RECVTCLASS))
    Append(control, IPPROTO_IPV6, IPV6_TCLASS, int{details.traffic_class});
  if (options.Value(IPPROTO_IPV6, IPV6_RECVORIGDSTADDR))
    Append(control, IPPROTO_IPV6, IPV6_ORIGDSTADDR, details.to.ToSocketAddress(AF_INET6).As<sockaddr_in6>());
}

}  // namespace

Result<SendDetails> ParseSendDetails(int family, const SocketControl& control) {
  SendDetails details;
  for (const Item& item : control.items) {
    if (family == AF_INET && item.level == IPPROTO_IP) TRY(ParseV4(item, details));
    if (family == AF_INET6 && item.level == IPPROTO_IPV6) TRY(ParseV6(item, details));
  }
  return details;
}

void AppendDetails(const PacketDetails& details, int family, const InetOptions& options, SocketControl& control) {
  if (family == AF_INET6 && options.Value(IPPROTO_IPV6, IPV6_RECVPKTINFO)) {
    in6_pktinfo info{};
    info.ipi6_ifindex = kLoopbackInterface;
    info.ipi6_addr = details.to.ToSocketAddress(AF_INET6).As<sockaddr_in6>().sin6_addr;
    Append(control, IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
  // An IPv6 socket treats an IPv4 packet as ip(7) says.
  details.to.v4 ? AppendV4(details, options, control) : AppendV6(details, options, control);
}

void AppendTimestamp(int option, int64_t realtime_ns, SocketControl& control) {
  constexpr int64_t kSecond = 1'000'000'000;
  if (option == SO_TIMESTAMP)
    Append(control, SOL_SOCKET, SCM_TIMESTAMP, timeval{realtime_ns / kSecond, realtime_ns % kSecond / 1000});
  if (option == SO_TIMESTAMPNS)
    Append(control, SOL_SOCKET, SCM_TIMESTAMPNS, timespec{realtime_ns / kSecond, realtime_ns % kSecond});
}

}  // namespace sandbox
