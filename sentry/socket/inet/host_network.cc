#include "sentry/socket/inet/host_network.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/host_sys.h"

namespace sandbox {
namespace {

constexpr size_t kBuffer = 64 * 1024;      // more than a dump's datagram has (Linux: 32 KiB)
constexpr size_t kMaxEntries = 16 * 1024;  // of one kind that are kept: a host may have very many routes

// Calls `f(type, bytes)` for each attribute behind a fixed-size body.
template <typename F>
void ForEachAttribute(std::string_view body, size_t fixed, F f) {
  size_t at = NLMSG_ALIGN(fixed);
  while (at + sizeof(rtattr) <= body.size()) {
    rtattr attribute;
    std::memcpy(&attribute, body.data() + at, sizeof(attribute));
    if (attribute.rta_len < sizeof(attribute) || attribute.rta_len > body.size() - at) return;
    f(attribute.rta_type & NLA_TYPE_MASK, body.substr(at + RTA_LENGTH(0), attribute.rta_len - RTA_LENGTH(0)));
    at += RTA_ALIGN(attribute.rta_len);
  }
}

template <typename T>
void Take(std::string_view bytes, T& to) {
  std::memcpy(&to, bytes.data(), std::min(bytes.size(), sizeof(to)));
}

std::string Text(std::string_view bytes) { return std::string(bytes.substr(0, bytes.find('\0'))); }

void TakeLink(NetState& state, uint16_t type, std::string_view body) {
  if (type != RTM_NEWLINK || body.size() < sizeof(ifinfomsg) || state.interfaces.size() >= kMaxEntries) return;
  ifinfomsg info;
  Take(body, info);
  NetInterface interface;
  interface.index = info.ifi_index;
  interface.flags = info.ifi_flags;
  interface.type = info.ifi_type;
  ForEachAttribute(body, sizeof(info), [&](int attribute, std::string_view bytes) {
    switch (attribute) {
      case IFLA_IFNAME:
        interface.name = Text(bytes);
        break;
      case IFLA_MTU:
        Take(bytes, interface.mtu);
        break;
      case IFLA_TXQLEN:
        Take(bytes, interface.queue_length);
        break;
      case IFLA_OPERSTATE:
        Take(bytes, interface.operational);
        break;
      case IFLA_LINK:
        Take(bytes, interface.link);
        break;
      case IFLA_QDISC:
        interface.queueing = Text(bytes);
        break;
      case IFLA_ADDRESS:
        Take(bytes, interface.hardware);
        break;
      case IFLA_BROADCAST:
        Take(bytes, interface.broadcast);
        break;
      case IFLA_STATS64:
        Take(bytes, interface.statistics);
        break;
      default:
        break;
    }
  });
  state.interfaces.push_back(std::move(interface));
}

void TakeAddress(NetState& state, uint16_t type, std::string_view body) {
  if (type != RTM_NEWADDR || body.size() < sizeof(ifaddrmsg)) return;
  ifaddrmsg info;
  Take(body, info);
  if (info.ifa_family != AF_INET && info.ifa_family != AF_INET6) return;
  const auto interface = std::find_if(state.interfaces.begin(), state.interfaces.end(), [&](const NetInterface& one) {
    return one.index == static_cast<int>(info.ifa_index);
  });
  if (interface == state.interfaces.end() || interface->addresses.size() >= kMaxEntries) return;
  InterfaceAddress address;
  address.family = info.ifa_family;
  address.prefix = info.ifa_prefixlen;
  address.scope = info.ifa_scope;
  address.flags = info.ifa_flags;
  bool local = false;
  ForEachAttribute(body, sizeof(info), [&](int attribute, std::string_view bytes) {
    // Of a point-to-point interface IFA_ADDRESS is the peer's.
    if (attribute == IFA_LOCAL || (attribute == IFA_ADDRESS && !local)) Take(bytes, address.bytes);
    if (attribute == IFA_LOCAL) local = true;
    if (attribute == IFA_BROADCAST) Take(bytes, address.broadcast);
    if (attribute == IFA_FLAGS) Take(bytes, address.flags);
  });
  interface->addresses.push_back(address);
}

void TakeRoute(NetState& state, uint16_t type, std::string_view body) {
  if (type != RTM_NEWROUTE || body.size() < sizeof(rtmsg) || state.routes.size() >= kMaxEntries) return;
  rtmsg info;
  Take(body, info);
  if (info.rtm_family != AF_INET && info.rtm_family != AF_INET6) return;
  NetRoute route;
  route.family = info.rtm_family;
  route.prefix = info.rtm_dst_len;
  route.table = info.rtm_table;
  route.protocol = info.rtm_protocol;
  route.scope = info.rtm_scope;
  route.type = info.rtm_type;
  route.flags = info.rtm_flags;
  ForEachAttribute(body, sizeof(info), [&](int attribute, std::string_view bytes) {
    switch (attribute) {
      case RTA_TABLE:
        Take(bytes, route.table);
        break;
      case RTA_DST:
        Take(bytes, route.destination);
        break;
      case RTA_GATEWAY:
        Take(bytes, route.gateway);
        break;
      case RTA_PREFSRC:
        Take(bytes, route.source);
        break;
      case RTA_OIF:
        Take(bytes, route.interface);
        break;
      case RTA_PRIORITY:
        Take(bytes, route.priority);
        break;
      default:
        break;
    }
  });
  state.routes.push_back(route);
}

}  // namespace

Result<RefPtr<HostNetwork>> HostNetwork::Open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.valid()) return LastErrno();
  return MakeRef<HostNetwork>(std::move(socket));
}

Result<void> HostNetwork::Dump(uint16_t request, Sink sink, NetState& state) {
  struct {
    nlmsghdr header;
    rtgenmsg body;
  } question = {};
  question.header.nlmsg_len = NLMSG_LENGTH(sizeof(question.body));
  question.header.nlmsg_type = request;
  question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  question.header.nlmsg_seq = ++sequence_;
  TRY(host::Send(socket_.borrow(), &question, question.header.nlmsg_len, 0));
  const auto buffer = std::make_unique_for_overwrite<char[]>(kBuffer);
  for (;;) {
    // A dump is made as it is read: there is always something until its end.
    const size_t got = TRY(host::Receive(socket_.borrow(), buffer.get(), kBuffer, MSG_DONTWAIT));
    std::string_view bytes(buffer.get(), got);
    while (bytes.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header;
      Take(bytes, header);
      if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > bytes.size()) return Err(EBADMSG);
      if (header.nlmsg_seq == sequence_) {
        if (header.nlmsg_type == NLMSG_DONE) return {};
        if (header.nlmsg_type == NLMSG_ERROR) return Err(EIO);
        sink(state, header.nlmsg_type, bytes.substr(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN));
      }
      bytes.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), bytes.size()));
    }
  }
}

NetState HostNetwork::Query() {
  NetState state;
  MutexLock lock(mu_);
  (void)Dump(RTM_GETLINK, &TakeLink, state);
  (void)Dump(RTM_GETADDR, &TakeAddress, state);
  (void)Dump(RTM_GETROUTE, &TakeRoute, state);
  std::sort(state.interfaces.begin(), state.interfaces.end(),
            [](const auto& a, const auto& b) { return a.index < b.index; });
  return state;
}

}  // namespace sandbox
