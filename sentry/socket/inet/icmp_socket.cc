#include "sentry/socket/inet/icmp_socket.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <netinet/ip.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "sentry/socket/inet/ip_packet.h"

namespace sandbox {
namespace {

constexpr size_t kMaxMessage = 65535;
constexpr size_t kIcmpHeader = sizeof(icmphdr);
constexpr size_t kChecksumAt = 2, kIdentifierAt = 4;

struct Received {
  std::vector<uint8_t> message;
  sockaddr_storage from = {};
  socklen_t from_size = 0;
  uint8_t ttl = 0;
  in_addr to = {};
};

Result<Received> ReceiveMessage(int fd, int flags) {
  Received got;
  got.message.resize(kMaxMessage);
  iovec iov{got.message.data(), got.message.size()};
  alignas(cmsghdr) char control[256];
  msghdr header = {};
  header.msg_name = &got.from;
  header.msg_namelen = sizeof(got.from);
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  const ssize_t size = ::recvmsg(fd, &header, (flags & MSG_PEEK) | MSG_DONTWAIT);
  if (size < 0) return LastErrno();
  got.message.resize(static_cast<size_t>(size));
  got.from_size = header.msg_namelen;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != IPPROTO_IP) continue;
    if (part->cmsg_type == IP_TTL) {
      int ttl;
      std::memcpy(&ttl, CMSG_DATA(part), sizeof(ttl));
      got.ttl = static_cast<uint8_t>(ttl);
    } else if (part->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(part), sizeof(info));
      got.to = info.ipi_addr;
    }
  }
  return got;
}

iphdr HeaderFor(const Received& got) {
  sockaddr_in from;
  std::memcpy(&from, &got.from, sizeof(from));
  iphdr header = {};
  header.version = 4;
  header.ihl = sizeof(header) / 4;
  header.tot_len = htons(static_cast<uint16_t>(std::min(sizeof(header) + got.message.size(), kMaxMessage)));
  header.ttl = got.ttl;
  header.protocol = IPPROTO_ICMP;
  header.saddr = from.sin_addr.s_addr;
  header.daddr = got.to.s_addr;
  header.check = InternetChecksum({reinterpret_cast<const char*>(&header), sizeof(header)});
  return header;
}

}  // namespace

Result<RefPtr<IcmpSocket>> IcmpSocket::Make(int family, int flags, UniqueFd fd) {
  const int on = 1;
  if (family == AF_INET) {
    for (const int option : {IP_RECVTTL, IP_PKTINFO}) {
      if (::setsockopt(fd.get(), IPPROTO_IP, option, &on, sizeof(on)) != 0) return LastErrno();
    }
  }
  const int protocol = family == AF_INET ? IPPROTO_ICMP : static_cast<int>(IPPROTO_ICMPV6);
  return MakeRef<IcmpSocket>(family, protocol, flags, std::move(fd));
}

Result<size_t> IcmpSocket::Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) {
  uint8_t header[kIcmpHeader];
  if (from.remaining() < sizeof(header) || from.remaining() > kMaxMessage)
    return Err(from.remaining() > kMaxMessage ? EMSGSIZE : EINVAL);
  // Looked at here only for the identifier: what is sent, which may differ by then, is the host's to check.
  if (TRY(from.PeekIn(header, sizeof(header))) != sizeof(header)) return Err(EFAULT);
  const uint8_t request_type = family() == AF_INET ? ICMP_ECHO : ICMPV6_ECHO_REQUEST;
  if (header[0] != request_type || header[1] != 0) return Err(EPERM);
  uint16_t identifier;
  std::memcpy(&identifier, header + kIdentifierAt, sizeof(identifier));
  identifier_.store(identifier);
  // A raw socket's port means nothing (raw(7)).
  if (request.to.size >= sizeof(sockaddr_in))
    std::memset(request.to.bytes.data() + offsetof(sockaddr_in, sin_port), 0, sizeof(in_port_t));
  return HostSocket::Send(caller, from, request);
}

Result<size_t> IcmpSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  auto received = ReceiveMessage(fd_.get(), flags);
  if (!received.ok()) {
    if (received.Is(EAGAIN)) pollable_.Arm(kReadable);
    return received.error();
  }
  std::vector<uint8_t>& message = received->message;
  if (message.size() >= kIcmpHeader) {
    const uint16_t identifier = identifier_.load();
    std::memcpy(message.data() + kIdentifierAt, &identifier, sizeof(identifier));
    if (family() == AF_INET) {
      std::memset(message.data() + kChecksumAt, 0, sizeof(uint16_t));
      const uint16_t sum = InternetChecksum({reinterpret_cast<const char*>(message.data()), message.size()});
      std::memcpy(message.data() + kChecksumAt, &sum, sizeof(sum));
    }
  }
  if (family() == AF_INET) {
    const iphdr header = HeaderFor(*received);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&header);
    message.insert(message.begin(), bytes, bytes + sizeof(header));
  }
  const size_t filled = std::min(message.size(), to.remaining());
  if (filled > 0 && TRY(to.CopyOut(message.data(), filled)) != filled) return Err(EFAULT);
  result.from.size = std::min<socklen_t>(received->from_size, result.from.bytes.size());
  std::memcpy(result.from.bytes.data(), &received->from, result.from.size);
  result.flags = filled < message.size() ? MSG_TRUNC : 0;
  return (flags & MSG_TRUNC) != 0 ? message.size() : filled;
}

Result<void> IcmpSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  // Filters of message types: nothing but answers comes in anyway.
  const bool filter = (level == SOL_RAW && (name == ICMP_FILTER || name == IPV6_CHECKSUM)) ||
                      (level == IPPROTO_ICMPV6 && name == ICMPV6_FILTER);
  if (filter) return {};
  return HostSocket::SetOption(context, level, name, value);
}

}  // namespace sandbox
