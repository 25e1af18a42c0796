#include "sentry/socket/inet/inet_options.h"

#include <linux/capability.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>

namespace sandbox {
namespace {

constexpr int kMaxInt = std::numeric_limits<int>::max();
constexpr int kMinInt = std::numeric_limits<int>::min();
constexpr int kEcnMask = 3;                             // Linux: INET_ECN_MASK; TCP keeps these bits to itself
constexpr int kMinWindowClamp = 1152;                   // Linux: SOCK_MIN_RCVBUF / 2
constexpr int kFinTimeout = 60;                         // net.ipv4.tcp_fin_timeout, seconds
constexpr int kMaxFinTimeout = 120;                     // Linux: TCP_FIN_TIMEOUT_MAX, seconds
constexpr int kMaxRetransmitGap = 120;                  // Linux: TCP_RTO_MAX, seconds
constexpr int kMinCoverage = 8, kMaxCoverage = 0xffff;  // UDP-Lite: a header, a whole packet

enum class Rule {
  kSwitch,      // any number, on or off
  kDetail,      // a switch that asks for ancillary data
  kPrivileged,  // a switch that only CAP_NET_RAW or CAP_NET_ADMIN turn on
  kBinary,      // 0 or 1, EINVAL otherwise
  kRange,       // min to max, EINVAL otherwise
  kDefault,     // like kRange, and -1 brings the initial value back
  kSpecial,     // see Adjust
};

struct Known {
  int level, name;
  Rule rule;
  int initial = 0, min = kMinInt, max = kMaxInt;
  int stream_error = 0;  // of setting it on a stream socket
};

constexpr Known kKnown[] = {
    {IPPROTO_IP, IP_TOS, Rule::kSpecial},
    {IPPROTO_IP, IP_TTL, Rule::kDefault, 64, 1, 255},
    {IPPROTO_IP, IP_MTU_DISCOVER, Rule::kRange, IP_PMTUDISC_WANT, IP_PMTUDISC_DONT, IP_PMTUDISC_OMIT},
    {IPPROTO_IP, IP_RECVERR, Rule::kSwitch},
    {IPPROTO_IP, IP_RECVTOS, Rule::kDetail},
    {IPPROTO_IP, IP_RECVTTL, Rule::kDetail},
    {IPPROTO_IP, IP_PKTINFO, Rule::kDetail},
    {IPPROTO_IP, IP_RECVORIGDSTADDR, Rule::kDetail},
    {IPPROTO_IP, IP_RECVOPTS, Rule::kSwitch},
    {IPPROTO_IP, IP_RETOPTS, Rule::kSwitch},
    {IPPROTO_IP, IP_CHECKSUM, Rule::kSwitch},
    {IPPROTO_IP, IP_PASSSEC, Rule::kSwitch},
    {IPPROTO_IP, IP_RECVERR_RFC4884, Rule::kBinary},
    {IPPROTO_IP, 51 /* IP_LOCAL_PORT_RANGE */, Rule::kSwitch},
    {IPPROTO_IP, IP_FREEBIND, Rule::kSwitch},
    {IPPROTO_IP, IP_TRANSPARENT, Rule::kPrivileged},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, Rule::kSwitch},
    {IPPROTO_IP, IP_MINTTL, Rule::kRange, 0, 0, 255},
    {IPPROTO_IP, IP_MULTICAST_TTL, Rule::kDefault, 1, 0, 255, EINVAL},
    {IPPROTO_IP, IP_MULTICAST_LOOP, Rule::kSwitch, 1},
    {IPPROTO_IP, IP_MULTICAST_ALL, Rule::kBinary, 1},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, Rule::kDefault, 64, 0, 255},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, Rule::kDefault, 1, 0, 255, ENOPROTOOPT},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, Rule::kBinary, 1},
    {IPPROTO_IPV6, IPV6_MULTICAST_ALL, Rule::kSwitch, 1},
    {IPPROTO_IPV6, IPV6_RECVERR, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, Rule::kDetail},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, Rule::kDetail},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, Rule::kDetail},
    {IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, Rule::kDetail},
    {IPPROTO_IPV6, IPV6_RECVFRAGSIZE, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_TCLASS, Rule::kDefault, 0, 0, 255},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, Rule::kRange, IPV6_PMTUDISC_WANT, IPV6_PMTUDISC_DONT, IPV6_PMTUDISC_OMIT},
    {IPPROTO_IPV6, IPV6_DONTFRAG, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_FREEBIND, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_TRANSPARENT, Rule::kPrivileged},
    {IPPROTO_IPV6, IPV6_V6ONLY, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_MINHOPCOUNT, Rule::kRange, 0, 0, 255},
    {IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, Rule::kSwitch, 1},
    {IPPROTO_IPV6, IPV6_2292PKTINFO, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_2292HOPOPTS, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_2292DSTOPTS, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_2292RTHDR, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_2292HOPLIMIT, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_FLOWINFO, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_FLOWINFO_SEND, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_RECVERR_RFC4884, Rule::kBinary},
    {IPPROTO_IPV6, IPV6_RECVHOPOPTS, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_RECVRTHDR, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_RECVDSTOPTS, Rule::kSwitch},
    {IPPROTO_IPV6, IPV6_RECVPATHMTU, Rule::kSwitch},
    {IPPROTO_TCP, TCP_NODELAY, Rule::kSwitch},
    {IPPROTO_TCP, TCP_CORK, Rule::kSwitch},
    {IPPROTO_TCP, TCP_KEEPIDLE, Rule::kRange, 7200, 1, 32767},
    {IPPROTO_TCP, TCP_KEEPINTVL, Rule::kRange, 75, 1, 32767},
    {IPPROTO_TCP, TCP_KEEPCNT, Rule::kRange, 9, 1, 127},
    {IPPROTO_TCP, TCP_SYNCNT, Rule::kRange, 6, 1, 127},
    {IPPROTO_TCP, TCP_LINGER2, Rule::kSpecial, kFinTimeout},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, Rule::kSpecial},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, Rule::kSpecial},
    {IPPROTO_TCP, TCP_QUICKACK, Rule::kSwitch, 1},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, Rule::kRange, 0, 0},
    {IPPROTO_TCP, TCP_FASTOPEN, Rule::kRange, 0, 0},
    {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, Rule::kBinary},
    {IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, Rule::kBinary},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, Rule::kRange},
    {IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, Rule::kBinary},
    {IPPROTO_TCP, TCP_THIN_DUPACK, Rule::kBinary},
    {IPPROTO_TCP, TCP_SAVE_SYN, Rule::kRange, 0, 0, 2},
    {IPPROTO_TCP, TCP_INQ, Rule::kBinary},
    {IPPROTO_UDP, UDP_CORK, Rule::kSwitch},
    {IPPROTO_UDP, UDP_NO_CHECK6_TX, Rule::kSwitch},
    {IPPROTO_UDP, UDP_NO_CHECK6_RX, Rule::kSwitch},
    {IPPROTO_UDPLITE, 10 /* UDPLITE_SEND_CSCOV */, Rule::kSpecial},
    {IPPROTO_UDPLITE, 11 /* UDPLITE_RECV_CSCOV */, Rule::kSpecial},
};

const Known* Find(int level, int name) {
  for (const Known& option : kKnown) {
    if (option.level == level && option.name == name) return &option;
  }
  return nullptr;
}

// TCP_DEFER_ACCEPT is kept as a count of retransmissions, whose gaps double: the time that count takes.
int RetransmissionTime(int seconds) {
  if (seconds <= 0) return 0;
  int period = 1;
  for (int gap = 1; period < seconds && period < kMaxInt / 2;) {
    gap = std::min(gap * 2, kMaxRetransmitGap);
    period += gap;
  }
  return period;
}

int Adjust(const Known& option, int type, int before, int value) {
  if (option.level == IPPROTO_UDPLITE) return value == 0 ? 0 : std::clamp(value, kMinCoverage, kMaxCoverage);
  if (option.level == IPPROTO_IP)
    return type == SOCK_STREAM ? (value & 0xff & ~kEcnMask) | (before & kEcnMask) : value & 0xff;
  switch (option.name) {
    case TCP_LINGER2:
      return value < 0 ? -1 : value == 0 ? kFinTimeout : std::min(value, kMaxFinTimeout);
    case TCP_DEFER_ACCEPT:
      return RetransmissionTime(value);
    default:
      return value == 0 ? 0 : std::max(value, kMinWindowClamp);  // TCP_WINDOW_CLAMP
  }
}

}  // namespace

// Linux reads options of IPPROTO_IP from a byte too; the other levels want an int.
Result<int> InetOptions::Number(int level, int name, OptionIn value) const {
  if (level != IPPROTO_IP || value.size() >= sizeof(int)) return OptionInt(value);
  if (!value.empty()) return value[0];
  const bool needs_a_byte = name == IP_TTL || name == IP_FREEBIND || name == IP_TRANSPARENT || name == IP_MINTTL ||
                            name == IP_MULTICAST_TTL || name == IP_MULTICAST_LOOP || name == IP_MULTICAST_ALL;
  if (needs_a_byte) return Err(EINVAL);
  return 0;
}

Result<void> InetOptions::Set(Context& context, int level, int name, OptionIn value) {
  const bool own_level = level == IPPROTO_IP || (level == IPPROTO_IPV6 && family_ == AF_INET6) || level == protocol_;
  const Known* option = own_level ? Find(level, name) : nullptr;
  if (option == nullptr) return Err(ENOPROTOOPT);
  int number = TRY(Number(level, name, value));
  if (type_ == SOCK_STREAM && option->stream_error != 0) return Err(option->stream_error);
  const UserNamespace& owner = *context.net()->owner();
  if (option->rule == Rule::kPrivileged && number != 0 && !context.creds().HasIn(owner, CAP_NET_RAW) &&
      !context.creds().HasIn(owner, CAP_NET_ADMIN))
    return Err(EPERM);
  MutexLock lock(mu_);
  auto [it, inserted] = stored_.try_emplace({level, name}, option->initial);
  switch (option->rule) {
    case Rule::kSwitch:
    case Rule::kDetail:
    case Rule::kPrivileged:
      number = number != 0;
      break;
    case Rule::kBinary:
      if (number != 0 && number != 1) return Err(EINVAL);
      break;
    case Rule::kDefault:
      if (number == -1) {
        number = option->initial;
        break;
      }
      [[fallthrough]];
    case Rule::kRange:
      if (number < option->min || number > option->max) return Err(EINVAL);
      break;
    case Rule::kSpecial:
      number = Adjust(*option, type_, it->second, number);
      break;
  }
  it->second = number;
  if (option->rule == Rule::kDetail && number != 0) wants_details_.store(true);
  return {};
}

Result<int> InetOptions::Get(int level, int name) const {
  const bool own_level = level == IPPROTO_IP || (level == IPPROTO_IPV6 && family_ == AF_INET6) || level == protocol_;
  // An IPv6 socket hands unknown levels to ipv6(7), whose answer differs.
  if (!own_level) return Err(family_ == AF_INET6 ? ENOPROTOOPT : EOPNOTSUPP);
  if (Find(level, name) == nullptr) return Err(ENOPROTOOPT);
  return Value(level, name);
}

int InetOptions::Value(int level, int name) const {
  MutexLock lock(mu_);
  auto it = stored_.find({level, name});
  if (it != stored_.end()) return it->second;
  const Known* option = Find(level, name);
  return option != nullptr ? option->initial : 0;
}

}  // namespace sandbox
