#include "sentry/socket/netlink/netlink_socket.h"

#include <linux/capability.h>

#include <unordered_set>

#include "sentry/socket/interfaces.h"
#include "sentry/socket/netlink/route.h"
#include "sentry/socket/netlink/sock_diag.h"

namespace sandbox {
namespace {

constexpr size_t kMaxRequest = 32 * 1024;
constexpr int kGroups = 39;  // RTNLGRP_MAX of Linux 6.18

// Port numbers in use; a socket gets its process's pid if that is free, as on Linux.
Guarded<std::unordered_set<uint32_t>>& Ports() {
  static Guarded<std::unordered_set<uint32_t>> ports(LockRank::kLeaf);
  return ports;
}

bool Claim(uint32_t port) {
  return Ports().With([&](auto& ports) { return ports.insert(port).second; });
}

class NetlinkFamily final : public SocketFamily {
 public:
  Result<SocketRef> Create(Context&, int type, int protocol, int flags) override {
    if (type != SOCK_RAW && type != SOCK_DGRAM) return Err(ESOCKTNOSUPPORT);
    if (protocol != NETLINK_ROUTE && protocol != NETLINK_KOBJECT_UEVENT && protocol != NETLINK_SOCK_DIAG)
      return Err(EPROTONOSUPPORT);
    return SocketRef(MakeRef<NetlinkSocket>(type, protocol, flags));
  }
};

[[maybe_unused]] const bool registered = [] {
  static NetlinkFamily family;
  RegisterSocketFamily(AF_NETLINK, &family);
  return true;
}();

Result<sockaddr_nl> Parse(const SocketAddress& address) {
  if (address.size < sizeof(sockaddr_nl) || address.family() != AF_NETLINK) return Err(EINVAL);
  return address.As<sockaddr_nl>();
}

SocketAddress NetlinkAddress(uint32_t port, uint32_t groups) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_pid = port;
  address.nl_groups = groups;
  return SocketAddress::From(address);
}

}  // namespace

NetlinkSocket::NetlinkSocket(int type, int protocol, int flags) : Socket(AF_NETLINK, type, protocol, flags) {}

NetlinkSocket::~NetlinkSocket() {
  if (const uint32_t port = port_.load()) Ports().With([&](auto& ports) { ports.erase(port); });
}

Result<uint32_t> NetlinkSocket::EnsurePort(Context& context) {
  if (port_.load() != 0) return port_.load();
  static std::atomic<uint32_t> next{0xfffff000};
  uint32_t port = static_cast<uint32_t>(context.tgid());
  while (port == 0 || !Claim(port)) port = next.fetch_sub(1);
  port_.store(port);
  return port;
}

Result<void> NetlinkSocket::Bind(const SocketCaller& caller, const SocketAddress& address) {
  const sockaddr_nl name = TRY(Parse(address));
  groups_.store(name.nl_groups);  // there is nobody who announces anything
  if (port_.load() != 0) return name.nl_pid == port_.load() || name.nl_pid == 0 ? Result<void>() : Err(EINVAL);
  if (name.nl_pid == 0) {
    TRY(EnsurePort(caller.context));
    return {};
  }
  if (!Claim(name.nl_pid)) return Err(EADDRINUSE);
  port_.store(name.nl_pid);
  return {};
}

Result<void> NetlinkSocket::Connect(const SocketCaller& caller, const SocketAddress& address) {
  if (address.family() == AF_UNSPEC) return {};
  if (TRY(Parse(address)).nl_pid != 0) return Err(ECONNREFUSED);
  TRY(EnsurePort(caller.context));
  return {};
}

Result<SocketAddress> NetlinkSocket::LocalAddress(Context&) { return NetlinkAddress(port_.load(), groups_.load()); }
Result<SocketAddress> NetlinkSocket::PeerAddress(Context&) { return NetlinkAddress(0, 0); }

void NetlinkSocket::Reply(std::string datagram) {
  SocketMessage message;
  message.bytes = MakeRef<SocketBytes>(datagram.size());
  message.length = datagram.size();
  std::memcpy(message.bytes->data.get(), datagram.data(), datagram.size());
  message.from = NetlinkAddress(0, 0);
  // A guest that asks without reading loses answers, as on Linux (ENOBUFS there).
  (void)incoming_.Push(std::move(message));
}

void NetlinkSocket::DeliverFromKernel(std::string datagram) {
  Reply(std::move(datagram));
  wait_queue_.Notify(kReadable);
}

Result<size_t> NetlinkSocket::Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) {
  if (request.flags & MSG_OOB) return Err(EOPNOTSUPP);
  if (!request.to.empty() && TRY(Parse(request.to)).nl_pid != 0) return Err(ECONNREFUSED);
  const size_t size = from.remaining();
  if (size > kMaxRequest) return Err(EMSGSIZE);
  std::string bytes(size, '\0');
  if (TRY(from.CopyIn(bytes.data(), size)) != size) return Err(EFAULT);
  const uint32_t port = TRY(EnsurePort(caller.context));
  if (protocol() == NETLINK_KOBJECT_UEVENT) return size;
  auto replies = protocol() == NETLINK_ROUTE ? AnswerRoute(caller.context, bytes, port)
                                             : AnswerSockDiag(caller.context, bytes, port);
  for (std::string& reply : replies) Reply(std::move(reply));
  wait_queue_.Notify(kReadable);
  return size;
}

Result<size_t> NetlinkSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  if (flags & MSG_OOB) return Err(EOPNOTSUPP);
  bool freed;
  const auto got = incoming_.ReadPacket(to, flags, result, &freed);
  if (options().pass_credentials()) {
    result.control.credentials = ucred{0, 0, 0};  // the kernel speaks
  } else {
    result.control.credentials.reset();
  }
  return got;
}

namespace {

bool IsSwitch(int name) {
  switch (name) {
    case NETLINK_PKTINFO:
    case NETLINK_BROADCAST_ERROR:
    case NETLINK_NO_ENOBUFS:
    case NETLINK_LISTEN_ALL_NSID:
    case NETLINK_CAP_ACK:
    case NETLINK_EXT_ACK:
    case NETLINK_GET_STRICT_CHK:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<void> NetlinkSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (level != SOL_NETLINK) return Socket::SetOption(context, level, name, value);
  if (name == NETLINK_ADD_MEMBERSHIP || name == NETLINK_DROP_MEMBERSHIP) {
    const int group = TRY(OptionInt(value));
    return group < 1 || group > kGroups ? Err(EINVAL) : Result<void>();  // there is nobody who announces anything
  }
  if (!IsSwitch(name)) return Err(ENOPROTOOPT);
  const bool on = TRY(OptionInt(value)) != 0;
  if (name == NETLINK_LISTEN_ALL_NSID && !context.creds().HasOwn(CAP_NET_BROADCAST)) return Err(EPERM);
  on ? switches_.fetch_or(1u << name) : switches_.fetch_and(~(1u << name));
  return {};
}

Result<std::string> NetlinkSocket::GetOption(Context& context, int level, int name) {
  if (level != SOL_NETLINK) return Socket::GetOption(context, level, name);
  if (!IsSwitch(name)) return Err(ENOPROTOOPT);
  return OptionBytes((switches_.load() >> name) & 1 ? 1 : 0);
}

EventMask NetlinkSocket::Readiness(Context&, EventMask) { return kWritable | (incoming_.HasData() ? kReadable : 0); }

Result<int64_t> NetlinkSocket::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  return InterfaceIoctl(context, request, argument);
}

}  // namespace sandbox
