#include "sentry/socket/inet/raw_icmp_socket.h"

#include <linux/capability.h>
#include <linux/icmp.h>
#include <linux/ip.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace sandbox {
namespace {

constexpr size_t kMaxPacket = 65535;
constexpr int kSolRaw = 255;  // SOL_RAW

// RFC 1071.
uint16_t Checksum(const char* bytes, size_t size) {
  uint32_t sum = 0;
  for (size_t i = 0; i < size; i += 2) {
    uint16_t word = 0;
    std::memcpy(&word, bytes + i, std::min<size_t>(2, size - i));
    sum += word;
  }
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~(sum + (sum >> 16)));
}

uint8_t TimeToLive(msghdr& message) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != IPPROTO_IP || part->cmsg_type != IP_TTL) continue;
    int ttl;
    std::memcpy(&ttl, CMSG_DATA(part), sizeof(ttl));
    return static_cast<uint8_t>(ttl);
  }
  return 0;
}

}  // namespace

Result<SocketRef> RawIcmpSocket::Create(Context& context, int flags) {
  if (!context.creds().Has(CAP_NET_RAW)) return Err(EPERM);
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP));
  const int on = 1;
  if (!fd.valid() || ::setsockopt(fd.get(), IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)) != 0) return Err(EPERM);
  return SocketRef(MakeRef<RawIcmpSocket>(flags, std::move(fd)));
}

RawIcmpSocket::RawIcmpSocket(int flags, UniqueFd fd) : HostSocket(AF_INET, SOCK_RAW, IPPROTO_ICMP, flags, std::move(fd)) {}

Result<size_t> RawIcmpSocket::Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) {
  icmphdr header;
  if (TRY(from.PeekIn(&header, sizeof(header))) != sizeof(header)) return Err(EINVAL);
  if (header.type != ICMP_ECHO || header.code != 0) return Err(EPERM);
  id_ = header.un.echo.id;
  return HostSocket::Send(caller, from, request);
}

Result<size_t> RawIcmpSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  const size_t room = std::clamp(to.remaining(), sizeof(iphdr) + sizeof(icmphdr), kMaxPacket) - sizeof(iphdr);
  const auto packet = std::make_unique<char[]>(sizeof(iphdr) + room);
  char* const bytes = packet.get() + sizeof(iphdr);
  sockaddr_in from = {};
  iovec iov = {bytes, room};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_name = &from;
  message.msg_namelen = sizeof(from);
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  // The whole length is always asked for: it is in the IP header.
  const ssize_t got = ::recvmsg(fd(), &message, (flags & MSG_PEEK) | MSG_TRUNC | MSG_DONTWAIT);
  if (got < 0) return WouldBlock(LastErrno(), kReadable);
  const size_t whole = static_cast<size_t>(got), kept = std::min(whole, room);
  if (kept >= sizeof(icmphdr)) {
    icmphdr header;
    std::memcpy(&header, bytes, sizeof(header));
    header.un.echo.id = id_;
    header.checksum = 0;
    std::memcpy(bytes, &header, sizeof(header));
    header.checksum = Checksum(bytes, kept);
    std::memcpy(bytes, &header, sizeof(header));
  }
  iphdr ip = {};
  ip.version = 4;
  ip.ihl = sizeof(ip) / 4;
  ip.tot_len = htons(static_cast<uint16_t>(sizeof(ip) + whole));
  ip.ttl = TimeToLive(message);
  ip.protocol = IPPROTO_ICMP;
  ip.saddr = from.sin_addr.s_addr;
  std::memcpy(packet.get(), &ip, sizeof(ip));
  ip.check = Checksum(packet.get(), sizeof(ip));
  std::memcpy(packet.get(), &ip, sizeof(ip));

  std::memcpy(result.from.bytes.data(), &from, sizeof(from));
  result.from.size = sizeof(from);
  const size_t filled = std::min(to.remaining(), sizeof(ip) + kept);
  result.flags = filled < sizeof(ip) + whole ? MSG_TRUNC : 0;
  if (TRY(to.CopyOut(packet.get(), filled)) != filled) return Err(EFAULT);
  return flags & MSG_TRUNC ? sizeof(ip) + whole : filled;
}

Result<void> RawIcmpSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  // Which types are wanted (raw(7)): only replies arrive anyway.
  if (level == kSolRaw && name == ICMP_FILTER) return value.size() < sizeof(icmp_filter) ? Result<void>(Err(EINVAL)) : Result<void>();
  return HostSocket::SetOption(context, level, name, value);
}

}  // namespace sandbox
