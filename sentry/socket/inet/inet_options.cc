#include "sentry/socket/inet/inet_options.h"

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <sys/socket.h>

#include <climits>

namespace sandbox {
namespace {

using Kind = InetOption::Kind;
constexpr int kMaxKeepSeconds = 32767, kMaxKeepProbes = 127, kMaxSynRetries = 127;

constexpr InetOption kOptions[] = {
    {IPPROTO_IP, IP_TOS, 0, Kind::kNumber, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_TTL, 64, Kind::kNumber, 1, 255},
    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT, Kind::kNumber, IP_PMTUDISC_DONT, IP_PMTUDISC_OMIT},
    {IPPROTO_IP, IP_RECVERR, 0},
    {IPPROTO_IP, IP_RECVTOS, 0},
    {IPPROTO_IP, IP_RECVTTL, 0},
    {IPPROTO_IP, IP_RECVOPTS, 0},
    {IPPROTO_IP, IP_RETOPTS, 0},
    {IPPROTO_IP, IP_RECVORIGDSTADDR, 0},
    {IPPROTO_IP, IP_CHECKSUM, 0},
    {IPPROTO_IP, IP_PKTINFO, 0},
    {IPPROTO_IP, IP_FREEBIND, 0},
    {IPPROTO_IP, IP_TRANSPARENT, 0},
    {IPPROTO_IP, IP_NODEFRAG, 0},
    {IPPROTO_IP, IP_HDRINCL, 0, Kind::kReadOnly},
    {IPPROTO_IP, IP_MINTTL, 0, Kind::kNumber, 0, 255},
    {IPPROTO_IP, IP_UNICAST_IF, 0, Kind::kNumber, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0},
    {IPPROTO_IP, IP_MULTICAST_TTL, 1, Kind::kNumber, 0, 255},
    {IPPROTO_IP, IP_MULTICAST_LOOP, 1},
    {IPPROTO_IP, IP_MULTICAST_ALL, 1},
    {IPPROTO_IP, IP_MULTICAST_IF, 0, Kind::kReadOnly},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64, Kind::kNumber, 0, 255},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1, Kind::kNumber, 0, 255},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1, Kind::kNumber, 0, 1},
    {IPPROTO_IPV6, IPV6_RECVERR, 0},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 0},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, 0},
    {IPPROTO_IPV6, IPV6_DONTFRAG, 0},
    {IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 1},
    {IPPROTO_IPV6, IPV6_TCLASS, 0, Kind::kNumber, 0, 255},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT, Kind::kNumber, IPV6_PMTUDISC_DONT, IPV6_PMTUDISC_OMIT},
    {IPPROTO_TCP, TCP_NODELAY, 0},
    {IPPROTO_TCP, TCP_CORK, 0},
    {IPPROTO_TCP, TCP_MAXSEG, 65483, Kind::kNumber, 88, 32767},
    {IPPROTO_TCP, TCP_KEEPIDLE, 7200, Kind::kNumber, 1, kMaxKeepSeconds},
    {IPPROTO_TCP, TCP_KEEPINTVL, 75, Kind::kNumber, 1, kMaxKeepSeconds},
    {IPPROTO_TCP, TCP_KEEPCNT, 9, Kind::kNumber, 1, kMaxKeepProbes},
    {IPPROTO_TCP, TCP_SYNCNT, 6, Kind::kNumber, 1, kMaxSynRetries},
    {IPPROTO_TCP, TCP_LINGER2, 60, Kind::kNumber, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, Kind::kNumber, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, 65536, Kind::kNumber, 0, INT_MAX},
    {IPPROTO_TCP, TCP_QUICKACK, 1},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 0, Kind::kNumber, 0, INT_MAX},
    {IPPROTO_TCP, TCP_FASTOPEN, 0, Kind::kNumber, 0, INT_MAX},
    {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0, Kind::kNumber, 0, 1},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, Kind::kNumber, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 0, Kind::kNumber, 0, 1},
    {IPPROTO_TCP, TCP_THIN_DUPACK, 0, Kind::kNumber, 0, 1},
    {IPPROTO_TCP, TCP_INQ, 0, Kind::kNumber, 0, 1},
    {IPPROTO_TCP, TCP_REPAIR, 0, Kind::kReadOnly},
    {IPPROTO_UDP, UDP_CORK, 0},
    {IPPROTO_UDP, UDP_SEGMENT, 0, Kind::kNumber, 0, 65535},
    {IPPROTO_UDP, UDP_GRO, 0},
    {IPPROTO_UDP, UDP_ENCAP, 0, Kind::kReadOnly},
    {IPPROTO_UDP, UDP_NO_CHECK6_TX, 0},
    {IPPROTO_UDP, UDP_NO_CHECK6_RX, 0},
};

}  // namespace

Result<int> InetOption::Accept(int number) const {
  if (kind == Kind::kReadOnly) return Err(ENOPROTOOPT);
  if (kind == Kind::kSwitch) return number != 0 ? 1 : 0;
  // -1 asks for the default back (ip(7)).
  const bool resettable = name == IP_TTL || name == IP_MULTICAST_TTL;
  const bool resettable6 = name == IPV6_UNICAST_HOPS || name == IPV6_MULTICAST_HOPS || name == IPV6_TCLASS;
  if (number == -1 && ((level == IPPROTO_IP && resettable) || (level == IPPROTO_IPV6 && resettable6))) return initial;
  if (number < least || number > most) return Err(EINVAL);
  return level == IPPROTO_IP && name == IP_TOS ? number & 0xff : number;
}

const InetOption* FindInetOption(int level, int name) {
  for (const InetOption& option : kOptions) {
    if (option.level == level && option.name == name) return &option;
  }
  return nullptr;
}

}  // namespace sandbox
