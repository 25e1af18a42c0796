#include "sentry/socket/netlink/route.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "sentry/socket/interfaces.h"

namespace sandbox {
namespace {

constexpr size_t kMaxDatagram = 8192;  // Linux: NLMSG_GOODSIZE at most

// Builds one message with its attributes.
class Message {
 public:
  template <typename Body>
  Message(uint16_t type, uint16_t flags, const nlmsghdr& request, uint32_t port, const Body& body) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = flags;
    header.nlmsg_seq = request.nlmsg_seq;
    header.nlmsg_pid = port;
    Append(&header, sizeof(header));
    Append(&body, sizeof(body));
  }
  void Attribute(uint16_t type, const void* data, size_t size) {
    rtattr attribute{};
    attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(size));
    attribute.rta_type = type;
    Append(&attribute, sizeof(attribute));
    Append(data, size);
  }
  template <typename T>
  void Attribute(uint16_t type, const T& value) {
    Attribute(type, &value, sizeof(value));
  }
  void Text(uint16_t type, const std::string& text) { Attribute(type, text.c_str(), text.size() + 1); }
  std::string Finish() {
    const auto size = static_cast<uint32_t>(bytes_.size());
    std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &size, sizeof(size));
    return std::move(bytes_);
  }

 private:
  void Append(const void* data, size_t size) {
    bytes_.append(static_cast<const char*>(data), size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  std::string bytes_;
};

struct Request {
  Context& context;
  nlmsghdr header;
  std::string_view body;
  uint32_t port;
  bool dump() const { return (header.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP; }
  uint16_t reply_flags() const { return dump() ? NLM_F_MULTI : 0; }
  template <typename T>
  T Body() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(sizeof(value), body.size()));
    return value;
  }
  // First attribute of a type behind a fixed-size body.
  std::optional<std::string_view> Attribute(size_t body_size, uint16_t type) const {
    size_t at = NLMSG_ALIGN(body_size);
    while (at + sizeof(rtattr) <= body.size()) {
      rtattr attribute;
      std::memcpy(&attribute, body.data() + at, sizeof(attribute));
      if (attribute.rta_len < sizeof(attribute) || attribute.rta_len > body.size() - at) return std::nullopt;
      if (attribute.rta_type == type) return body.substr(at + RTA_LENGTH(0), attribute.rta_len - RTA_LENGTH(0));
      at += RTA_ALIGN(attribute.rta_len);
    }
    return std::nullopt;
  }
};

using Messages = std::vector<std::string>;

std::string LinkMessage(const Request& request, const NetInterface& interface) {
  ifinfomsg body{};
  body.ifi_family = AF_UNSPEC;
  body.ifi_type = interface.type;
  body.ifi_index = interface.index;
  body.ifi_flags = interface.flags;
  Message message(RTM_NEWLINK, request.reply_flags(), request.header, request.port, body);
  message.Text(IFLA_IFNAME, interface.name);
  message.Attribute(IFLA_TXQLEN, interface.queue_length);
  message.Attribute(IFLA_OPERSTATE, interface.operational);
  message.Attribute(IFLA_LINKMODE, uint8_t{0});
  message.Attribute(IFLA_MTU, interface.mtu);
  message.Attribute(IFLA_GROUP, uint32_t{0});
  message.Text(IFLA_QDISC, interface.queueing);
  if (interface.link != 0) message.Attribute(IFLA_LINK, interface.link);
  message.Attribute(IFLA_ADDRESS, interface.hardware);
  message.Attribute(IFLA_BROADCAST, interface.broadcast);
  message.Attribute(IFLA_STATS64, interface.statistics);
  return message.Finish();
}

int AnswerLinks(const Request& request, Messages& out) {
  const auto wanted = request.Body<ifinfomsg>();
  const auto name = request.Attribute(sizeof(ifinfomsg), IFLA_IFNAME);
  bool any = false;
  const NetState state = CurrentNetState(request.context);
  for (const NetInterface& interface : state.interfaces) {
    if (!request.dump()) {
      if (wanted.ifi_index != 0 && wanted.ifi_index != interface.index) continue;
      if (name && std::string_view(name->data(), strnlen(name->data(), name->size())) != interface.name) continue;
      if (wanted.ifi_index == 0 && !name) return EINVAL;
    }
    out.push_back(LinkMessage(request, interface));
    any = true;
  }
  return any || request.dump() ? 0 : ENODEV;
}

int AnswerAddresses(const Request& request, Messages& out) {
  const auto wanted = request.Body<ifaddrmsg>();
  if (!request.dump()) return EOPNOTSUPP;
  const NetState state = CurrentNetState(request.context);
  for (const NetInterface& interface : state.interfaces) {
    for (const InterfaceAddress& address : interface.addresses) {
      if (wanted.ifa_family != AF_UNSPEC && wanted.ifa_family != address.family) continue;
      ifaddrmsg body{};
      body.ifa_family = static_cast<uint8_t>(address.family);
      body.ifa_prefixlen = address.prefix;
      body.ifa_flags = static_cast<uint8_t>(address.flags);
      body.ifa_scope = address.scope;
      body.ifa_index = static_cast<uint32_t>(interface.index);
      Message message(RTM_NEWADDR, request.reply_flags(), request.header, request.port, body);
      message.Attribute(IFA_ADDRESS, address.bytes.data(), address.size());
      if (address.family == AF_INET) {
        message.Attribute(IFA_LOCAL, address.bytes.data(), address.size());
        message.Text(IFA_LABEL, interface.name);
      }
      if (!IsZero(address.broadcast)) message.Attribute(IFA_BROADCAST, address.broadcast.data(), address.size());
      message.Attribute(IFA_FLAGS, address.flags);
      const ifa_cacheinfo forever = {~0u, ~0u, 0, 0};
      message.Attribute(IFA_CACHEINFO, forever);
      out.push_back(message.Finish());
    }
  }
  return 0;
}

std::string RouteMessage(const Request& request, const NetRoute& route) {
  rtmsg body{};
  body.rtm_family = static_cast<uint8_t>(route.family);
  body.rtm_dst_len = route.prefix;
  body.rtm_table = static_cast<uint8_t>(route.table < 256 ? route.table : RT_TABLE_COMPAT);
  body.rtm_protocol = route.protocol;
  body.rtm_scope = route.scope;
  body.rtm_type = route.type;
  body.rtm_flags = route.flags;
  Message message(RTM_NEWROUTE, request.reply_flags(), request.header, request.port, body);
  const size_t size = AddressSize(route.family);
  message.Attribute(RTA_TABLE, route.table);
  if (route.prefix != 0) message.Attribute(RTA_DST, route.destination.data(), size);
  if (!IsZero(route.gateway)) message.Attribute(RTA_GATEWAY, route.gateway.data(), size);
  if (!IsZero(route.source)) message.Attribute(RTA_PREFSRC, route.source.data(), size);
  if (route.interface != 0) message.Attribute(RTA_OIF, route.interface);
  if (route.priority != 0) message.Attribute(RTA_PRIORITY, route.priority);
  return message.Finish();
}

// `ip route get`: how one address is reached.
int AnswerRouteTo(const Request& request, const NetState& state, Messages& out) {
  const auto wanted = request.Body<rtmsg>();
  const auto to = request.Attribute(sizeof(rtmsg), RTA_DST);
  if (!to || (wanted.rtm_family != AF_INET && wanted.rtm_family != AF_INET6) ||
      to->size() != AddressSize(wanted.rtm_family))
    return EINVAL;
  InternetAddress address = {};
  std::memcpy(address.data(), to->data(), to->size());
  const NetRoute* found = FindRoute(state, wanted.rtm_family, address);
  if (found == nullptr) return ENETUNREACH;
  NetRoute answer = *found;
  answer.destination = address;
  answer.prefix = static_cast<uint8_t>(AddressSize(wanted.rtm_family) * 8);
  answer.flags |= RTM_F_CLONED;
  out.push_back(RouteMessage(request, answer));
  return 0;
}

// All tables; `ip route` picks the main one by itself.
int AnswerRoutes(const Request& request, Messages& out) {
  const auto wanted = request.Body<rtmsg>();
  const NetState state = CurrentNetState(request.context);
  if (!request.dump()) return AnswerRouteTo(request, state, out);
  for (const NetRoute& route : state.routes) {
    if (wanted.rtm_family == AF_UNSPEC || wanted.rtm_family == route.family)
      out.push_back(RouteMessage(request, route));
  }
  return 0;
}

// Fills `out`; 0 or an errno.
int Answer(const Request& request, Messages& out) {
  if (request.body.empty()) return EINVAL;
  switch (request.header.nlmsg_type) {
    case RTM_GETLINK:
      return AnswerLinks(request, out);
    case RTM_GETADDR:
      return AnswerAddresses(request, out);
    case RTM_GETROUTE:
      return AnswerRoutes(request, out);
    case RTM_GETNEIGH:
    case RTM_GETRULE:
    case RTM_GETQDISC:
    case RTM_GETNEIGHTBL:
      return request.dump() ? 0 : EOPNOTSUPP;
    default:
      return request.header.nlmsg_type < RTM_BASE || request.header.nlmsg_type > RTM_MAX ? EOPNOTSUPP : EPERM;
  }
}

std::string ErrorMessage(const Request& request, int error) {
  nlmsgerr body{};
  body.error = -error;
  body.msg = request.header;
  return Message(NLMSG_ERROR, 0, request.header, request.port, body).Finish();
}

// Packs messages into datagrams no longer than a reader's usual buffer.
void Pack(Messages messages, std::vector<std::string>& datagrams) {
  std::string current;
  for (std::string& message : messages) {
    if (!current.empty() && current.size() + message.size() > kMaxDatagram)
      datagrams.push_back(std::exchange(current, {}));
    current += message;
  }
  if (!current.empty()) datagrams.push_back(std::move(current));
}

}  // namespace

std::vector<std::string> AnswerRoute(Context& context, std::string_view bytes, uint32_t port) {
  std::vector<std::string> datagrams;
  while (bytes.size() >= sizeof(nlmsghdr)) {
    Request request{.context = context, .header = {}, .body = {}, .port = port};
    std::memcpy(&request.header, bytes.data(), sizeof(request.header));
    const uint32_t size = request.header.nlmsg_len;
    if (size < sizeof(nlmsghdr) || size > bytes.size()) break;
    request.body = bytes.substr(NLMSG_HDRLEN, size - NLMSG_HDRLEN);
    bytes.remove_prefix(std::min<size_t>(NLMSG_ALIGN(size), bytes.size()));
    if (!(request.header.nlmsg_flags & NLM_F_REQUEST) || request.header.nlmsg_type < NLMSG_MIN_TYPE) continue;
    Messages messages;
    const int error = Answer(request, messages);
    if (error != 0) {
      datagrams.push_back(ErrorMessage(request, error));
      continue;
    }
    Pack(std::move(messages), datagrams);
    if (request.dump()) {
      datagrams.push_back(Message(NLMSG_DONE, NLM_F_MULTI, request.header, port, int32_t{0}).Finish());
    } else if (request.header.nlmsg_flags & NLM_F_ACK) {
      datagrams.push_back(ErrorMessage(request, 0));
    }
  }
  return datagrams;
}

}  // namespace sandbox
