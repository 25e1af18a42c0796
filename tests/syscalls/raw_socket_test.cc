// SOCK_RAW sockets of AF_INET and AF_INET6 (raw(7)) and AF_PACKET sockets (packet(7)) on the loopback interface.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "tests/util/guest.h"

namespace guest {
namespace {

constexpr int kUnused = 253;  // "for experimentation" (RFC 3692)

sockaddr_in Loopback(uint16_t port = 0) {
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return name;
}

template <typename T>
const sockaddr* Any(const T& name) {
  return reinterpret_cast<const sockaddr*>(&name);
}

// One packet whose end is `tail`, within a second; others on the interface are passed over.
std::string ReceiveEnding(int fd, const std::string& tail, sockaddr_storage* from = nullptr) {
  char buffer[2048];
  pollfd wait = {fd, POLLIN, 0};
  while (poll(&wait, 1, 1000) == 1) {
    sockaddr_storage name = {};
    socklen_t size = sizeof(name);
    const ssize_t got = recvfrom(fd, buffer, sizeof(buffer), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&name), &size);
    if (got < 0) break;
    const std::string packet(buffer, static_cast<size_t>(got));
    if (packet.size() < tail.size() || packet.substr(packet.size() - tail.size()) != tail) continue;
    if (from != nullptr) *from = name;
    return packet;
  }
  return {};
}

bool HaveRaw() {
  const ScopedFd fd(socket(AF_INET, SOCK_RAW, kUnused));
  return fd.get() >= 0;
}
#define NEEDS_RAW() \
  if (!HaveRaw()) GTEST_SKIP() << "no CAP_NET_RAW"

TEST(RawSocketTest, WhoMayMakeOne) {
  EXPECT_ERRNO(EPROTONOSUPPORT, socket(AF_INET, SOCK_RAW, 0));
  EXPECT_ERRNO(EINVAL, socket(AF_INET, SOCK_RAW, 1000));
  EXPECT_ERRNO(EINVAL, socket(AF_INET, SOCK_RAW, -1));
  EXPECT_EQ(RunAsNobody([] {
              EXPECT_ERRNO(EPERM, socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
              EXPECT_ERRNO(EPERM, socket(AF_INET6, SOCK_RAW, IPPROTO_RAW));
              EXPECT_ERRNO(EPROTONOSUPPORT, socket(AF_INET, SOCK_RAW, 0));
              EXPECT_ERRNO(EPERM, socket(AF_PACKET, SOCK_RAW, 0));
              return 0;
            }),
            0);
}

TEST(RawSocketTest, ItsOwnPacketsComeBackWithAHeader) {
  NEEDS_RAW();
  const ScopedFd fd(socket(AF_INET, SOCK_RAW, kUnused));
  sockaddr_in name = {};
  socklen_t size = sizeof(name);
  ASSERT_OK(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size));
  EXPECT_EQ(ntohs(name.sin_port), kUnused) << "Linux shows the protocol as the port";
  EXPECT_ERRNO(EDESTADDRREQ, send(fd.get(), "x", 1, 0));
  EXPECT_ERRNO(EOPNOTSUPP, listen(fd.get(), 1));
  EXPECT_ERRNO(ENOTCONN, shutdown(fd.get(), SHUT_WR));
  const ScopedFd other(socket(AF_INET, SOCK_RAW, kUnused));
  const std::string text = "raw of " + std::to_string(getpid());
  EXPECT_EQ(sendto(other.get(), text.data(), text.size(), 0, Any(Loopback()), sizeof(name)),
            static_cast<ssize_t>(text.size()));
  sockaddr_storage from;
  const std::string packet = ReceiveEnding(fd.get(), text, &from);
  ASSERT_EQ(packet.size(), sizeof(iphdr) + text.size());
  iphdr header;
  memcpy(&header, packet.data(), sizeof(header));
  EXPECT_EQ(header.version, 4);
  EXPECT_EQ(header.protocol, kUnused);
  EXPECT_EQ(ntohs(header.tot_len), packet.size());
  EXPECT_EQ(header.daddr, htonl(INADDR_LOOPBACK));
  EXPECT_EQ(from.ss_family, AF_INET);
  EXPECT_EQ(reinterpret_cast<sockaddr_in&>(from).sin_port, 0);
}

TEST(RawSocketTest, BindAndConnectChoose) {
  NEEDS_RAW();
  const ScopedFd bound(socket(AF_INET, SOCK_RAW, kUnused)), sender(socket(AF_INET, SOCK_RAW, kUnused));
  sockaddr_in name = Loopback();
  name.sin_addr.s_addr = htonl(0x7f000002);
  ASSERT_OK(bind(bound.get(), Any(name), sizeof(name)));
  const std::string text = "bound " + std::to_string(getpid());
  EXPECT_EQ(sendto(sender.get(), text.data(), text.size(), 0, Any(Loopback()), sizeof(name)),
            static_cast<ssize_t>(text.size()));
  EXPECT_EQ(ReceiveEnding(sender.get(), text).size(), sizeof(iphdr) + text.size());
  EXPECT_ERRNO(EAGAIN, recv(bound.get(), nullptr, 0, MSG_DONTWAIT));
  name.sin_addr.s_addr = htonl(0xc0000201);  // 192.0.2.1
  EXPECT_ERRNO(EADDRNOTAVAIL, bind(sender.get(), Any(name), sizeof(name)));
  EXPECT_ERRNO(EINVAL, bind(sender.get(), Any(name), 4));
  ASSERT_OK(connect(sender.get(), Any(Loopback()), sizeof(name)));
  EXPECT_EQ(send(sender.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(ReceiveEnding(sender.get(), text).size(), sizeof(iphdr) + text.size());
}

TEST(RawSocketTest, HeaderIncluded) {
  NEEDS_RAW();
  const ScopedFd fd(socket(AF_INET, SOCK_RAW, IPPROTO_RAW)), receiver(socket(AF_INET, SOCK_RAW, kUnused));
  int on = 0;
  socklen_t size = sizeof(on);
  ASSERT_OK(getsockopt(fd.get(), IPPROTO_IP, IP_HDRINCL, &on, &size));
  EXPECT_EQ(on, 1);
  const std::string text = "with header " + std::to_string(getpid());
  iphdr header = {};
  header.version = 4;
  header.ihl = 5;
  header.ttl = 7;
  header.protocol = kUnused;
  header.daddr = htonl(INADDR_LOOPBACK);
  std::string packet(reinterpret_cast<char*>(&header), sizeof(header));
  packet += text;
  const sockaddr_in to = Loopback();
  EXPECT_ERRNO(EINVAL, sendto(fd.get(), packet.data(), 10, 0, Any(to), sizeof(to)));
  EXPECT_EQ(sendto(fd.get(), packet.data(), packet.size(), 0, Any(to), sizeof(to)),
            static_cast<ssize_t>(packet.size()));
  const std::string got = ReceiveEnding(receiver.get(), text);
  ASSERT_EQ(got.size(), packet.size());
  memcpy(&header, got.data(), sizeof(header));
  EXPECT_EQ(header.ttl, 7);
  EXPECT_EQ(ntohs(header.tot_len), packet.size()) << "filled in";
  EXPECT_EQ(header.saddr, htonl(INADDR_LOOPBACK)) << "filled in";
  EXPECT_NE(header.check, 0);
}

TEST(RawSocketTest, UdpBothWays) {
  NEEDS_RAW();
  const ScopedFd raw(socket(AF_INET, SOCK_RAW, IPPROTO_UDP)), udp(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in name = Loopback();
  ASSERT_OK(bind(udp.get(), Any(name), sizeof(name)));
  socklen_t size = sizeof(name);
  ASSERT_OK(getsockname(udp.get(), reinterpret_cast<sockaddr*>(&name), &size));
  // A datagram made by hand.
  const std::string text = "by hand " + std::to_string(getpid());
  udphdr header = {};
  header.source = htons(7);
  header.dest = name.sin_port;
  header.len = htons(static_cast<uint16_t>(sizeof(header) + text.size()));
  std::string datagram(reinterpret_cast<char*>(&header), sizeof(header));
  datagram += text;
  EXPECT_EQ(sendto(raw.get(), datagram.data(), datagram.size(), 0, Any(Loopback()), sizeof(name)),
            static_cast<ssize_t>(datagram.size()));
  sockaddr_storage from;
  EXPECT_EQ(ReceiveEnding(udp.get(), text, &from), text);
  EXPECT_EQ(ntohs(reinterpret_cast<sockaddr_in&>(from).sin_port), 7);
  // One that a UDP socket sends is seen whole.
  const std::string sent = "by udp " + std::to_string(getpid());
  EXPECT_EQ(sendto(udp.get(), sent.data(), sent.size(), 0, Any(name), sizeof(name)), static_cast<ssize_t>(sent.size()));
  const std::string seen = ReceiveEnding(raw.get(), sent);
  ASSERT_EQ(seen.size(), sizeof(iphdr) + sizeof(udphdr) + sent.size());
  memcpy(&header, seen.data() + sizeof(iphdr), sizeof(header));
  EXPECT_EQ(header.dest, name.sin_port);
  EXPECT_EQ(ntohs(header.len), sizeof(udphdr) + sent.size());
}

uint16_t Checksum(const std::string& data) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < data.size(); i += 2)
    sum += static_cast<uint8_t>(data[i]) << 8 | static_cast<uint8_t>(data[i + 1]);
  if (data.size() % 2 != 0) sum += static_cast<uint8_t>(data.back()) << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<uint16_t>(~sum));
}

TEST(RawSocketTest, Ping) {
  NEEDS_RAW();
  const ScopedFd fd(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));

  struct {
    uint32_t data;
  } only_replies = {~(1u << ICMP_ECHOREPLY)};
  ASSERT_OK(setsockopt(fd.get(), SOL_RAW, 1 /* ICMP_FILTER */, &only_replies, sizeof(only_replies)));
  uint32_t read = 0;
  socklen_t size = sizeof(read);
  ASSERT_OK(getsockopt(fd.get(), SOL_RAW, 1, &read, &size));
  EXPECT_EQ(read, only_replies.data);
  icmphdr header = {};
  header.type = ICMP_ECHO;
  header.un.echo.id = htons(static_cast<uint16_t>(getpid()));
  header.un.echo.sequence = htons(1);
  const std::string text = "ping " + std::to_string(getpid());
  std::string message = std::string(reinterpret_cast<char*>(&header), sizeof(header)) + text;
  header.checksum = Checksum(message);
  message = std::string(reinterpret_cast<char*>(&header), sizeof(header)) + text;
  const sockaddr_in to = Loopback();
  ASSERT_EQ(sendto(fd.get(), message.data(), message.size(), 0, Any(to), sizeof(to)),
            static_cast<ssize_t>(message.size()));
  const std::string reply = ReceiveEnding(fd.get(), text);
  ASSERT_EQ(reply.size(), sizeof(iphdr) + message.size());
  EXPECT_EQ(static_cast<uint8_t>(reply[sizeof(iphdr)]), ICMP_ECHOREPLY);
  EXPECT_EQ(Checksum(reply.substr(sizeof(iphdr))), 0);
}

TEST(RawSocketTest, Options) {
  NEEDS_RAW();
  const ScopedFd fd(socket(AF_INET, SOCK_RAW, kUnused));
  int value = 0;
  socklen_t size = sizeof(value);
  EXPECT_ERRNO(EOPNOTSUPP, setsockopt(fd.get(), SOL_RAW, 1 /* ICMP_FILTER */, &value, sizeof(value)));
  EXPECT_OK(getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &value, &size));
  EXPECT_EQ(value, SOCK_RAW);
  EXPECT_OK(getsockopt(fd.get(), SOL_SOCKET, SO_PROTOCOL, &value, &size));
  EXPECT_EQ(value, kUnused);
  EXPECT_OK(getsockopt(fd.get(), IPPROTO_IP, IP_HDRINCL, &value, &size));
  EXPECT_EQ(value, 0);
  const ScopedFd udp(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_ERRNO(ENOPROTOOPT, setsockopt(udp.get(), IPPROTO_IP, IP_HDRINCL, &value, sizeof(value)));
}

TEST(PacketSocketTest, NamesAndErrors) {
  NEEDS_RAW();
  EXPECT_ERRNO(ESOCKTNOSUPPORT, socket(AF_PACKET, SOCK_STREAM, 0));
  const ScopedFd fd(socket(AF_PACKET, SOCK_DGRAM, 0));
  ASSERT_GE(fd.get(), 0);
  sockaddr_ll name = {};
  name.sll_family = AF_PACKET;
  EXPECT_ERRNO(EINVAL, bind(fd.get(), Any(name), 4));
  name.sll_ifindex = 12345;
  EXPECT_ERRNO(ENODEV, bind(fd.get(), Any(name), sizeof(name)));
  EXPECT_ERRNO(EOPNOTSUPP, listen(fd.get(), 1));
  EXPECT_ERRNO(EOPNOTSUPP, connect(fd.get(), Any(name), sizeof(name)));
  EXPECT_ERRNO(ENXIO, sendto(fd.get(), "x", 1, 0, Any(name), sizeof(name)));
  name.sll_ifindex = static_cast<int>(if_nametoindex("lo"));
  name.sll_protocol = htons(ETH_P_IP);
  ASSERT_OK(bind(fd.get(), Any(name), sizeof(name)));
  sockaddr_ll own = {};
  socklen_t size = sizeof(own);
  ASSERT_OK(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size));
  EXPECT_EQ(own.sll_ifindex, name.sll_ifindex);
  EXPECT_EQ(own.sll_protocol, htons(ETH_P_IP));
  EXPECT_EQ(own.sll_halen, 6);
  EXPECT_ERRNO(EAGAIN, recv(fd.get(), nullptr, 0, MSG_DONTWAIT));
}

TEST(PacketSocketTest, SeesDatagrams) {
  NEEDS_RAW();
  const ScopedFd raw(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))), cooked(socket(AF_PACKET, SOCK_DGRAM, 0));
  sockaddr_ll bound = {};
  bound.sll_family = AF_PACKET;
  bound.sll_ifindex = static_cast<int>(if_nametoindex("lo"));
  bound.sll_protocol = htons(ETH_P_IP);
  ASSERT_OK(bind(cooked.get(), Any(bound), sizeof(bound)));
  const ScopedFd udp(socket(AF_INET, SOCK_DGRAM, 0));
  const std::string text = "seen " + std::to_string(getpid());
  const sockaddr_in to = Loopback(9);
  ASSERT_EQ(sendto(udp.get(), text.data(), text.size(), 0, Any(to), sizeof(to)), static_cast<ssize_t>(text.size()));
  sockaddr_storage from;
  const std::string packet = ReceiveEnding(cooked.get(), text, &from);
  EXPECT_EQ(packet.size(), sizeof(iphdr) + sizeof(udphdr) + text.size());
  const auto& name = reinterpret_cast<sockaddr_ll&>(from);
  EXPECT_EQ(name.sll_family, AF_PACKET);
  EXPECT_EQ(name.sll_protocol, htons(ETH_P_IP));
  EXPECT_EQ(name.sll_pkttype, PACKET_HOST);
  EXPECT_EQ(name.sll_ifindex, bound.sll_ifindex);
  // Everything is seen on its way out and in.
  const std::string out = ReceiveEnding(raw.get(), text, &from);
  EXPECT_EQ(out.size(), sizeof(ethhdr) + packet.size());
  EXPECT_EQ(name.sll_pkttype, PACKET_OUTGOING);
  EXPECT_EQ(ReceiveEnding(raw.get(), text, &from).size(), sizeof(ethhdr) + packet.size());
  EXPECT_EQ(name.sll_pkttype, PACKET_HOST);
}

TEST(PacketSocketTest, SendsFrames) {
  NEEDS_RAW();
  constexpr uint16_t kExperimental = 0x88b5;  // IEEE 802: for local experiments
  const ScopedFd sender(socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL))),
      cooked(socket(AF_PACKET, SOCK_DGRAM, htons(kExperimental))), raw(socket(AF_PACKET, SOCK_RAW, 0));
  sockaddr_ll name = {};
  name.sll_family = AF_PACKET;
  name.sll_ifindex = static_cast<int>(if_nametoindex("lo"));
  name.sll_protocol = htons(kExperimental);
  name.sll_halen = 6;
  ASSERT_OK(bind(raw.get(), Any(name), sizeof(name)));
  const std::string text = "framed " + std::to_string(getpid());
  ASSERT_EQ(sendto(sender.get(), text.data(), text.size(), 0, Any(name), sizeof(name)),
            static_cast<ssize_t>(text.size()));
  sockaddr_storage from;
  EXPECT_EQ(ReceiveEnding(cooked.get(), text), text);
  const std::string frame = ReceiveEnding(raw.get(), text);
  ASSERT_EQ(frame.size(), sizeof(ethhdr) + text.size());
  EXPECT_EQ(static_cast<uint8_t>(frame[12]) << 8 | static_cast<uint8_t>(frame[13]), kExperimental);
  // The sender sees it come in, not leave.
  EXPECT_EQ(ReceiveEnding(sender.get(), text, &from), text);
  EXPECT_EQ(reinterpret_cast<sockaddr_ll&>(from).sll_pkttype, PACKET_HOST);
  EXPECT_ERRNO(EINVAL, sendto(raw.get(), text.data(), 5, 0, Any(name), sizeof(name))) << "no room for a header";
}

}  // namespace
}  // namespace guest
