#include "sentry/socket/inet/loopback_device.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <netinet/in.h>

#include <cstring>

#include "sentry/socket/inet/udp_socket.h"

namespace sandbox {
namespace {

// The answer to an echo request, or nothing.
std::optional<IpPacket> EchoReply(const IpPacket& request) {
  const bool v4 = request.v4();
  if (request.protocol != (v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) || request.payload.size() < sizeof(icmphdr)) {
    return std::nullopt;
  }
  if (static_cast<uint8_t>(request.payload[0]) != (v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST)) return std::nullopt;
  IpPacket reply = request;
  std::swap(reply.from, reply.to);
  reply.hops = 64;
  reply.payload[0] = static_cast<char>(v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY);
  std::memset(reply.payload.data() + offsetof(icmphdr, checksum), 0, sizeof(uint16_t));
  const uint16_t sum =
      v4 ? InternetChecksum(reply.payload) : TransportChecksum(reply.from, reply.to, IPPROTO_ICMPV6, reply.payload);
  std::memcpy(reply.payload.data() + offsetof(icmphdr, checksum), &sum, sizeof(sum));
  return reply;
}

}  // namespace

void LoopbackDevice::Add(const RefPtr<PacketListener>& listener) {
  MutexLock lock(mu_);
  listeners_.push_back(listener);
  listeners_count_.store(listeners_.size());
}

void LoopbackDevice::Remove(const PacketListener* listener) {
  MutexLock lock(mu_);
  std::erase_if(listeners_, [&](const auto& weak) {
    const auto known = weak.lock();
    return known == nullptr || known.get() == listener;
  });
  listeners_count_.store(listeners_.size());
}

std::vector<RefPtr<PacketListener>> LoopbackDevice::Listeners() {
  std::vector<RefPtr<PacketListener>> all;
  MutexLock lock(mu_);
  for (const auto& weak : listeners_) {
    if (auto listener = weak.lock()) all.push_back(std::move(listener));
  }
  return all;
}

void LoopbackDevice::Show(const IpPacket& packet) {
  const std::string bytes = packet.Header() + packet.payload;
  const Frame frame{static_cast<uint16_t>(packet.v4() ? ETH_P_IP : ETH_P_IPV6), bytes};
  const auto all = Listeners();
  for (const auto& listener : all) listener->Passes(frame, true);
  for (const auto& listener : all) listener->Passes(frame, false);
  for (const auto& listener : all) listener->Arrives(packet);
}

void LoopbackDevice::TransmitFrame(NetNamespace& net, const Frame& frame, const PacketListener* sender) {
  const auto all = Listeners();
  for (const auto& listener : all) {
    if (listener.get() != sender) listener->Passes(frame, true);
  }
  for (const auto& listener : all) listener->Passes(frame, false);
  if (frame.protocol != ETH_P_IPV6) return;
  const auto packet = ParseIpPacket(false, frame.payload);
  if (!packet.ok() || !packet->to.IsLocal()) return;  // lost on its way in
  for (const auto& listener : all) listener->Arrives(*packet);
  Deliver(net, *packet);
}

void LoopbackDevice::Transmit(NetNamespace& net, const IpPacket& packet) {
  Show(packet);
  Deliver(net, packet);
}

void LoopbackDevice::Deliver(NetNamespace& net, const IpPacket& packet) {
  if (const auto reply = EchoReply(packet)) return Show(*reply);
  if (packet.protocol != IPPROTO_UDP) return;
  std::string_view data;
  const auto ports = ParseUdp(packet.payload, &data);
  if (!ports) return;
  UdpArrival arrival{.from = packet.from, .hops = packet.hops, .traffic_class = packet.traffic_class};
  arrival.from.port = ports->from;
  InetAddress to = packet.to;
  to.port = ports->to;
  SocketMessage message;
  message.bytes = MakeRef<SocketBytes>(data.size());
  message.length = data.size();
  std::memcpy(message.bytes->data.get(), data.data(), data.size());
  (void)DeliverUdp(net, IPPROTO_UDP, arrival, to, std::move(message));
}

}  // namespace sandbox
