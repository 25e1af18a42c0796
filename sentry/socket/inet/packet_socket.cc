#include "sentry/socket/inet/packet_socket.h"

#include <linux/capability.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "sentry/socket/interfaces.h"
#include "sentry/time/clock.h"

namespace sandbox {
namespace {

constexpr size_t kMaxFrame = 65536 + ETH_HLEN;  // the loopback device's MTU and a header
constexpr size_t kNameSize = offsetof(sockaddr_ll, sll_addr) + ETH_ALEN;

sockaddr_ll NameOf(int interface, uint16_t protocol, uint8_t direction) {
  sockaddr_ll name = {};
  name.sll_family = AF_PACKET;
  name.sll_protocol = htons(protocol);
  name.sll_ifindex = interface;
  name.sll_hatype = ARPHRD_LOOPBACK;
  name.sll_pkttype = direction;
  name.sll_halen = ETH_ALEN;  // of zeros
  return name;
}

// Options whose numbers are kept only.
constexpr std::array<int, 8> kStored = {PACKET_AUXDATA,     PACKET_ORIGDEV, PACKET_VERSION,   PACKET_RESERVE,
                                        PACKET_COPY_THRESH, PACKET_LOSS,    PACKET_TIMESTAMP, PACKET_IGNORE_OUTGOING};

bool Stored(int name) { return std::find(kStored.begin(), kStored.end(), name) != kStored.end(); }

}  // namespace

void PacketEndpoint::Passes(const Frame& passing, bool outgoing) {
  const uint16_t wanted = protocol.load();
  // Linux shows what leaves to those who see everything only.
  if (wanted != ETH_P_ALL && (wanted != passing.protocol || outgoing)) return;
  const uint8_t direction = outgoing ? PACKET_OUTGOING : PACKET_HOST;
  std::string frame;
  if (type == SOCK_RAW) {
    ethhdr header = {};
    header.h_proto = htons(passing.protocol);
    frame.assign(reinterpret_cast<const char*>(&header), sizeof(header));
  }
  frame += passing.payload;
  if (const PacketFilterRef filter = incoming.filter()) {
    frame.resize(filter->Run(frame, {.protocol = passing.protocol,
                                     .direction = direction,
                                     .interface = kLoopbackInterface,
                                     .hardware = ARPHRD_LOOPBACK}));
    if (frame.empty()) return;
  }
  SocketMessage message;
  message.bytes = MakeRef<SocketBytes>(frame.size());
  message.length = frame.size();
  std::memcpy(message.bytes->data.get(), frame.data(), frame.size());
  message.from = SocketAddress::From(NameOf(kLoopbackInterface, passing.protocol, direction), kNameSize);
  taken.fetch_add(1);
  if (!incoming.Push(std::move(message)).ok()) dropped.fetch_add(1);
  wait_queue.Notify(kReadable);
}

Result<SocketRef> PacketSocket::Make(Context& context, int type, int protocol, int flags) {
  if (!context.creds().HasIn(*context.net()->owner(), CAP_NET_RAW)) return Err(EPERM);
  if (type != SOCK_RAW && type != SOCK_DGRAM) return Err(ESOCKTNOSUPPORT);
  auto socket = MakeRef<PacketSocket>(type, protocol, flags);
  socket->set_net(context.net());
  LoopbackDevice::Of(socket->net())->Add(socket->endpoint_);
  return SocketRef(std::move(socket));
}

PacketSocket::PacketSocket(int type, int protocol, int flags)
    : Socket(AF_PACKET, type, protocol, flags), endpoint_(MakeRef<PacketEndpoint>(type)) {
  endpoint_->protocol.store(ntohs(static_cast<uint16_t>(protocol)));
}

PacketSocket::~PacketSocket() {
  LoopbackDevice::Of(net())->Remove(endpoint_.get());
  endpoint_->incoming.Clear();
}

Result<void> PacketSocket::Bind(const SocketCaller&, const SocketAddress& address) {
  if (address.size < sizeof(sockaddr_ll)) return Err(EINVAL);
  const auto name = address.As<sockaddr_ll>();
  if (name.sll_family != AF_PACKET) return Err(EINVAL);
  if (name.sll_ifindex != 0 && name.sll_ifindex != kLoopbackInterface) return Err(ENODEV);
  interface_.store(name.sll_ifindex);
  if (name.sll_protocol != 0) endpoint_->protocol.store(ntohs(name.sll_protocol));
  return {};
}

Result<SocketAddress> PacketSocket::LocalAddress(Context&) {
  const int interface = interface_.load();
  sockaddr_ll name = NameOf(interface, endpoint_->protocol.load(), 0);
  if (interface == 0) name.sll_hatype = name.sll_halen = 0;
  return SocketAddress::From(name, interface == 0 ? offsetof(sockaddr_ll, sll_addr) : kNameSize);
}

Result<size_t> PacketSocket::Send(const SocketCaller&, IoSequence& from, SendRequest& request) {
  int interface = interface_.load();
  uint16_t protocol = endpoint_->protocol.load();
  if (!request.to.empty()) {
    if (request.to.size < offsetof(sockaddr_ll, sll_addr) + ETH_ALEN) return Err(EINVAL);
    const auto name = request.to.As<sockaddr_ll>();
    interface = name.sll_ifindex;
    protocol = ntohs(name.sll_protocol);
  }
  if (interface != kLoopbackInterface) return Err(ENXIO);
  const size_t size = from.remaining();
  if (size > kMaxFrame) return Err(EMSGSIZE);
  if (type() == SOCK_RAW && size < ETH_HLEN) return Err(EINVAL);
  std::string bytes(size, '\0');
  if (size > 0 && TRY(from.CopyIn(bytes.data(), size)) != size) return Err(EFAULT);
  std::string_view payload = bytes;
  if (type() == SOCK_RAW) {
    ethhdr header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    protocol = ntohs(header.h_proto);
    payload.remove_prefix(sizeof(header));
  }
  LoopbackDevice::Of(net())->TransmitFrame(net(), {protocol, payload}, endpoint_.get());
  return size;
}

Result<size_t> PacketSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  if (flags & MSG_ERRQUEUE) return Err(EAGAIN);
  if (flags & ~(MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC)) return Err(EINVAL);
  bool freed = false;
  const auto got = endpoint_->incoming.ReadPacket(to, flags, result, &freed);
  result.control.credentials.reset();
  return got;
}

Result<void> PacketSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (level == SOL_SOCKET) {
    TRY(Socket::SetOption(context, level, name, value));
    if (name == SO_RCVBUF) endpoint_->incoming.SetLimit(options().receive_buffer());
    return {};
  }
  if (level != SOL_PACKET) return Err(ENOPROTOOPT);
  if (name == PACKET_ADD_MEMBERSHIP || name == PACKET_DROP_MEMBERSHIP) {
    packet_mreq request;
    if (value.size() < sizeof(request)) return Err(EINVAL);
    std::memcpy(&request, value.data(), sizeof(request));
    return request.mr_ifindex == kLoopbackInterface ? Result<void>() : Err(ENODEV);
  }
  if (!Stored(name)) return Err(ENOPROTOOPT);
  const int number = TRY(OptionInt(value));
  MutexLock lock(mu_);
  stored_[name] = number;
  return {};
}

Result<std::string> PacketSocket::GetOption(Context& context, int level, int name) {
  if (level == SOL_SOCKET) return Socket::GetOption(context, level, name);
  if (level != SOL_PACKET) return Err(ENOPROTOOPT);
  if (name == PACKET_STATISTICS) {
    const tpacket_stats statistics{endpoint_->taken.exchange(0), endpoint_->dropped.exchange(0)};
    return OptionBytes(&statistics, sizeof(statistics));
  }
  if (!Stored(name)) return Err(ENOPROTOOPT);
  MutexLock lock(mu_);
  const auto it = stored_.find(name);
  return OptionBytes(it == stored_.end() ? 0 : it->second);
}

Result<int64_t> PacketSocket::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  if (request != SIOCINQ && request != SIOCOUTQ) return InterfaceIoctl(context, request, argument);
  const auto value = static_cast<int32_t>(request == SIOCINQ ? endpoint_->incoming.next_packet_bytes() : 0);
  TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), value));
  return 0;
}

EventMask PacketSocket::Readiness(Context&, EventMask) {
  return kWritable | kEventWrBand | (endpoint_->incoming.HasData() ? kReadable : 0);
}

}  // namespace sandbox
