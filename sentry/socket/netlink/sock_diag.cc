#include "sentry/socket/netlink/sock_diag.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "sentry/socket/socket.h"

namespace sandbox {
namespace {

constexpr size_t kMaxDatagram = 16 * 1024;
constexpr uint8_t kEstablished = 1, kClose = 7, kListen = 10;  // net/tcp_states.h, also of unix sockets here

// One netlink message that grows.
class Builder {
 public:
  Builder(uint16_t type, uint16_t flags, uint32_t sequence, uint32_t port) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = flags;
    header.nlmsg_seq = sequence;
    header.nlmsg_pid = port;
    Append(&header, sizeof(header));
  }
  void Append(const void* data, size_t size) {
    bytes_.append(static_cast<const char*>(data), size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  void Attribute(uint16_t type, const void* data, size_t size) {
    const rtattr header{static_cast<unsigned short>(RTA_LENGTH(size)), type};
    Append(&header, sizeof(header));
    Append(data, size);
  }
  std::string Finish() {
    const auto size = static_cast<uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &size, sizeof(size));  // nlmsg_len is the first field
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

struct Request {
  Context& context;
  nlmsghdr header;
  std::string_view body;
  uint32_t port;
};

template <typename T>
bool Take(std::string_view body, T& to) {
  if (body.size() < sizeof(T)) return false;
  std::memcpy(&to, body.data(), sizeof(T));
  return true;
}

void FillEnd(const SocketAddress& address, int family, __be16* port, __be32* words) {
  if (family == AF_INET) {
    const auto in = address.As<sockaddr_in>();
    *port = in.sin_port;
    std::memcpy(words, &in.sin_addr, sizeof(in.sin_addr));
  } else {
    const auto in = address.As<sockaddr_in6>();
    *port = in.sin6_port;
    std::memcpy(words, &in.sin6_addr, sizeof(in.sin6_addr));
  }
}

int InternetSockets(const Request& request, std::vector<std::string>& messages) {
  inet_diag_req_v2 wanted;
  if (!Take(request.body, wanted)) return EINVAL;
  const int type = wanted.sdiag_protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
  if (wanted.sdiag_protocol != IPPROTO_TCP && wanted.sdiag_protocol != IPPROTO_UDP &&
      wanted.sdiag_protocol != IPPROTO_UDPLITE)
    return ENOENT;
  const int usual = type == SOCK_STREAM ? static_cast<int>(IPPROTO_TCP) : static_cast<int>(IPPROTO_UDP);
  for (const SocketRef& socket : Socket::All(*request.context.net(), wanted.sdiag_family)) {
    const int protocol = socket->protocol() != 0 ? socket->protocol() : usual;
    if (socket->type() != type || protocol != wanted.sdiag_protocol) continue;
    const SocketSummary summary = socket->Summary(request.context);
    inet_diag_msg message{};
    message.idiag_family = wanted.sdiag_family;
    message.idiag_state = summary.state;
    FillEnd(summary.local, wanted.sdiag_family, &message.id.idiag_sport, message.id.idiag_src);
    FillEnd(summary.peer, wanted.sdiag_family, &message.id.idiag_dport, message.id.idiag_dst);
    // What has no port is in no table.
    if (message.id.idiag_sport == 0 || (type == SOCK_STREAM && summary.state == kClose)) continue;
    if (!((wanted.idiag_states >> summary.state) & 1)) continue;
    message.id.idiag_cookie[0] = static_cast<uint32_t>(socket->ino());
    message.id.idiag_cookie[1] = static_cast<uint32_t>(socket->ino() >> 32);
    message.idiag_rqueue = static_cast<uint32_t>(summary.to_receive);
    message.idiag_wqueue = static_cast<uint32_t>(summary.to_send);
    message.idiag_uid = request.context.creds().ShownUid(socket->owner_uid());
    message.idiag_inode = static_cast<uint32_t>(socket->ino());
    Builder builder(SOCK_DIAG_BY_FAMILY, NLM_F_MULTI, request.header.nlmsg_seq, request.port);
    builder.Append(&message, sizeof(message));
    messages.push_back(builder.Finish());
  }
  return 0;
}

int UnixSockets(const Request& request, std::vector<std::string>& messages) {
  unix_diag_req wanted;
  if (!Take(request.body, wanted)) return EINVAL;
  constexpr uint8_t kConnected = 3;  // SS_CONNECTED, which the summary has
  for (const SocketRef& socket : Socket::All(*request.context.net(), AF_UNIX)) {
    const SocketSummary summary = socket->Summary(request.context);
    unix_diag_msg message{};
    message.udiag_family = AF_UNIX;
    message.udiag_type = static_cast<uint8_t>(socket->type());
    message.udiag_state = summary.listening ? kListen : summary.state == kConnected ? kEstablished : kClose;
    if (!((wanted.udiag_states >> message.udiag_state) & 1)) continue;
    message.udiag_ino = static_cast<uint32_t>(socket->ino());
    message.udiag_cookie[0] = static_cast<uint32_t>(socket->ino());
    message.udiag_cookie[1] = static_cast<uint32_t>(socket->ino() >> 32);
    Builder builder(SOCK_DIAG_BY_FAMILY, NLM_F_MULTI, request.header.nlmsg_seq, request.port);
    builder.Append(&message, sizeof(message));
    constexpr size_t kFamily = offsetof(sockaddr_un, sun_path);
    if ((wanted.udiag_show & UDIAG_SHOW_NAME) && summary.local.size > kFamily) {
      builder.Attribute(UNIX_DIAG_NAME, summary.local.bytes.data() + kFamily, summary.local.size - kFamily);
    }
    if (wanted.udiag_show & UDIAG_SHOW_RQLEN) {
      const unix_diag_rqlen lengths{static_cast<uint32_t>(summary.to_receive), static_cast<uint32_t>(summary.to_send)};
      builder.Attribute(UNIX_DIAG_RQLEN, &lengths, sizeof(lengths));
    }
    messages.push_back(builder.Finish());
  }
  return 0;
}

int Answer(const Request& request, std::vector<std::string>& messages) {
  if (request.header.nlmsg_type != SOCK_DIAG_BY_FAMILY) return EINVAL;
  sock_diag_req first;
  if (!Take(request.body, first)) return EINVAL;
  // One socket by its number is not asked by anything we know.
  if (!(request.header.nlmsg_flags & NLM_F_DUMP)) return EOPNOTSUPP;
  if (first.sdiag_family == AF_UNIX) return UnixSockets(request, messages);
  if (first.sdiag_family == AF_INET || first.sdiag_family == AF_INET6) return InternetSockets(request, messages);
  return ENOENT;
}

}  // namespace

std::vector<std::string> AnswerSockDiag(Context& context, std::string_view bytes, uint32_t port) {
  std::vector<std::string> datagrams;
  while (bytes.size() >= sizeof(nlmsghdr)) {
    Request request{.context = context, .header = {}, .body = {}, .port = port};
    std::memcpy(&request.header, bytes.data(), sizeof(request.header));
    const uint32_t size = request.header.nlmsg_len;
    if (size < sizeof(nlmsghdr) || size > bytes.size()) break;
    request.body = bytes.substr(NLMSG_HDRLEN, size - NLMSG_HDRLEN);
    bytes.remove_prefix(std::min<size_t>(NLMSG_ALIGN(size), bytes.size()));
    if (!(request.header.nlmsg_flags & NLM_F_REQUEST) || request.header.nlmsg_type < NLMSG_MIN_TYPE) continue;
    std::vector<std::string> messages;
    if (const int error = Answer(request, messages)) {
      Builder builder(NLMSG_ERROR, 0, request.header.nlmsg_seq, port);
      nlmsgerr body{};
      body.error = -error;
      body.msg = request.header;
      builder.Append(&body, sizeof(body));
      datagrams.push_back(builder.Finish());
      continue;
    }
    std::string current;
    for (std::string& message : messages) {
      if (!current.empty() && current.size() + message.size() > kMaxDatagram)
        datagrams.push_back(std::exchange(current, {}));
      current += message;
    }
    Builder done(NLMSG_DONE, NLM_F_MULTI, request.header.nlmsg_seq, port);
    const int32_t status = 0;
    done.Append(&status, sizeof(status));
    if (!current.empty()) datagrams.push_back(std::move(current));
    datagrams.push_back(done.Finish());
  }
  return datagrams;
}

}  // namespace sandbox
