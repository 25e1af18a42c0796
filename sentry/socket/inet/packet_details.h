// Ancillary data of internet datagrams (ip(7), ipv6(7), RFC 3542): what a receiver may ask for beside the bytes, and
// what a sender may choose for one datagram.
#pragma once

#include <optional>

#include "sentry/socket/inet/inet_address.h"
#include "sentry/socket/inet/inet_options.h"
#include "sentry/socket/message.h"

namespace sandbox {

struct PacketDetails {
  InetAddress to;    // as the header has it, with the port
  uint8_t hops = 0;  // IPv4: TTL
  uint8_t traffic_class = 0;
  int64_t realtime_ns = 0;  // of arrival
};

struct SendDetails {
  std::optional<int> hops, traffic_class;
  std::optional<InetAddress> source;
};

// EINVAL for unknown or malformed items and for a source that is not ours, ENODEV for an interface that does not exist.
Result<SendDetails> ParseSendDetails(int family, const SocketControl& control);

// Appends what the options of a socket of `family` ask for, in Linux's order.
void AppendDetails(const PacketDetails& details, int family, const InetOptions& options, SocketControl& control);
// SCM_TIMESTAMP, SCM_TIMESTAMPNS; `option` as SocketOptions::timestamp_option.
void AppendTimestamp(int option, int64_t realtime_ns, SocketControl& control);

}  // namespace sandbox
