// ip(7), ipv6(7), tcp(7): options as they are checked and read back, and the ancillary data of datagrams.
#include <gtest/gtest.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

class InetOptionsTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const int fd : fds_) close(fd);
  }
  int Open(int family, int type, int protocol = 0) {
    const int fd = socket(family, type, protocol);
    EXPECT_GE(fd, 0);
    fds_.push_back(fd);
    return fd;
  }
  std::vector<int> fds_;
};

struct Case {
  int family, type, level, name, value;
  int error;  // of setting it, or 0
  int read;   // back
};

TEST_F(InetOptionsTest, CheckedAndReadBack) {
  const Case cases[] = {
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_TOS, 0xff, 0, 0xff},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_TOS, 0x1ff, 0, 0xff},
      {AF_INET, SOCK_STREAM, IPPROTO_IP, IP_TOS, 0xff, 0, 0xfc},  // the ECN bits are TCP's
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_TTL, -1, 0, 64},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_TTL, 0, EINVAL, 64},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_TTL, 256, EINVAL, 64},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_TTL, 255, 0, 255},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MULTICAST_TTL, -1, 0, 1},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MULTICAST_TTL, 256, EINVAL, 1},
      {AF_INET, SOCK_STREAM, IPPROTO_IP, IP_MULTICAST_TTL, 2, EINVAL, 1},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MULTICAST_LOOP, 7, 0, 1},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MULTICAST_ALL, 2, EINVAL, 1},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MTU_DISCOVER, 6, EINVAL, IP_PMTUDISC_WANT},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MINTTL, 256, EINVAL, 0},
      {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_PKTINFO, 5, 0, 1},
      {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1, 0, 64},
      {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -2, EINVAL, 64},
      {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256, EINVAL, 64},
      {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 2, EINVAL, 1},
      {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_TCLASS, 256, EINVAL, 0},
      {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_TCLASS, 0x20, 0, 0x20},
      {AF_INET6, SOCK_DGRAM, IPPROTO_IP, IP_TTL, 9, 0, 9},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_MAXSEG, 50, EINVAL, 536},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_MAXSEG, 1000, 0, 1000},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_NODELAY, -5, 0, 1},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_KEEPIDLE, 0, EINVAL, 7200},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_KEEPIDLE, 32768, EINVAL, 7200},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_KEEPINTVL, 32767, 0, 32767},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_KEEPCNT, 128, EINVAL, 9},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_SYNCNT, 0, EINVAL, 6},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_LINGER2, -7, 0, -1},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_LINGER2, 200, 0, 120},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5, 0, 7},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1000, 0, 1087},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_WINDOW_CLAMP, 100, 0, 1152},
      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_USER_TIMEOUT, -1, EINVAL, 0},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::to_string(c.level) + " " + std::to_string(c.name) + " " + std::to_string(c.value));
    const int fd = Open(c.family, c.type);
    errno = 0;
    EXPECT_EQ(setsockopt(fd, c.level, c.name, &c.value, sizeof(int)), c.error != 0 ? -1 : 0);
    if (c.error != 0) {
      EXPECT_EQ(errno, c.error);
    }
    int back = -99;
    socklen_t size = sizeof(back);
    ASSERT_EQ(getsockopt(fd, c.level, c.name, &back, &size), 0);
    EXPECT_EQ(back, c.read);
  }
}

TEST_F(InetOptionsTest, SizesAndLevels) {
  const int udp = Open(AF_INET, SOCK_DGRAM), tcp = Open(AF_INET, SOCK_STREAM), udp6 = Open(AF_INET6, SOCK_DGRAM);
  // A byte is enough for IPPROTO_IP, and what fits one is given to a caller with room for less than an int.
  const uint8_t tos = 0x10;
  ASSERT_EQ(setsockopt(udp, IPPROTO_IP, IP_TOS, &tos, 1), 0);
  uint8_t room[4] = {};
  socklen_t size = 3;
  ASSERT_EQ(getsockopt(udp, IPPROTO_IP, IP_TOS, room, &size), 0);
  EXPECT_EQ(size, 1u);
  EXPECT_EQ(room[0], tos);
  EXPECT_EQ(setsockopt(udp, IPPROTO_IP, IP_TTL, &tos, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(setsockopt(udp6, IPPROTO_IPV6, IPV6_TCLASS, &tos, 1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &tos, 1), -1);
  EXPECT_EQ(errno, EINVAL);

  const int on = 1;
  int value;
  const std::pair<int, int> unknown[] = {{IPPROTO_IPV6, IPV6_V6ONLY}, {IPPROTO_TCP, TCP_NODELAY}};
  for (const auto& [level, name] : unknown) {
    size = sizeof(value);
    EXPECT_EQ(getsockopt(udp, level, name, &value, &size), -1);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_EQ(setsockopt(udp, level, name, &on, sizeof(on)), -1);
    EXPECT_EQ(errno, ENOPROTOOPT);
  }
  size = sizeof(value);
  EXPECT_EQ(getsockopt(udp6, IPPROTO_TCP, TCP_NODELAY, &value, &size), -1);
  EXPECT_EQ(errno, ENOPROTOOPT);
  EXPECT_EQ(getsockopt(udp, IPPROTO_IP, IP_MTU, &value, &size), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST_F(InetOptionsTest, V6OnlyIsFixedByBind) {
  const int fd = Open(AF_INET6, SOCK_DGRAM);
  const int on = 1;
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
  EXPECT_EQ(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(InetOptionsTest, CongestionControl) {
  const int fd = Open(AF_INET, SOCK_STREAM);
  char name[32] = {};
  socklen_t size = sizeof(name);
  ASSERT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size), 0);
  EXPECT_EQ(size, 16u);
  EXPECT_EQ(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, strlen(name)), 0);
  EXPECT_EQ(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nosuch", 6), -1);
  EXPECT_EQ(errno, ENOENT);
}

// A socket bound to the loopback address of its family, and one that sends there.
class DatagramTest : public InetOptionsTest, public ::testing::WithParamInterface<std::pair<int, int>> {
 protected:
  void SetUp() override {
    family_ = GetParam().first;
    receiver_ = Open(family_, SOCK_DGRAM, GetParam().second);
    sender_ = Open(family_, SOCK_DGRAM, GetParam().second);
    size_ = family_ == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    auto* in = reinterpret_cast<sockaddr_in*>(&name_);
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&name_);
    name_.ss_family = family_;
    if (family_ == AF_INET) {
      in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
      in6->sin6_addr = in6addr_loopback;
    }
    ASSERT_EQ(bind(receiver_, Name(), size_), 0);
    ASSERT_EQ(getsockname(receiver_, Name(), &size_), 0);
  }
  sockaddr* Name() { return reinterpret_cast<sockaddr*>(&name_); }
  void On(int level, int name) {
    const int on = 1;
    ASSERT_EQ(setsockopt(receiver_, level, name, &on, sizeof(on)), 0);
  }
  // Sends "data" with at most one control item.
  ssize_t Send(int level = 0, int type = 0, const void* payload = nullptr, size_t payload_size = 0) {
    char data[] = "data";
    iovec iov{data, 4};
    alignas(cmsghdr) char control[64] = {};
    msghdr message{};
    message.msg_name = &name_;
    message.msg_namelen = size_;
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    if (payload != nullptr) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(payload_size);
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = level;
      header->cmsg_type = type;
      header->cmsg_len = CMSG_LEN(payload_size);
      memcpy(CMSG_DATA(header), payload, payload_size);
    }
    return sendmsg(sender_, &message, 0);
  }
  ssize_t Receive(size_t room = 256, int flags = 0, int fd = -1) {
    char data[16];
    iovec iov{data, sizeof(data)};
    alignas(cmsghdr) char control[256];
    msghdr message{};
    message.msg_name = &from_;
    message.msg_namelen = sizeof(from_);
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = room;
    const ssize_t got = recvmsg(fd >= 0 ? fd : receiver_, &message, flags);
    flags_ = message.msg_flags;
    items_.clear();
    order_.clear();
    if (got < 0) return got;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
      order_.push_back({header->cmsg_level, header->cmsg_type});
      items_[order_.back()] = std::string(reinterpret_cast<char*>(CMSG_DATA(header)), header->cmsg_len - CMSG_LEN(0));
    }
    return got;
  }
  int Number(int level, int type) {
    const std::string& item = items_[{level, type}];
    int value = -1;
    if (item.size() == 1) value = static_cast<uint8_t>(item[0]);
    if (item.size() == sizeof(int)) memcpy(&value, item.data(), sizeof(int));
    return value;
  }
  int family_, receiver_, sender_;
  sockaddr_storage name_{}, from_{};
  socklen_t size_;
  int flags_;
  std::map<std::pair<int, int>, std::string> items_;
  std::vector<std::pair<int, int>> order_;
};

TEST_P(DatagramTest, DetailsOfArrival) {
  if (family_ == AF_INET) {
    On(IPPROTO_IP, IP_PKTINFO);
    On(IPPROTO_IP, IP_RECVTTL);
    On(IPPROTO_IP, IP_RECVTOS);
    const uint8_t tos = 0x28;
    ASSERT_EQ(setsockopt(sender_, IPPROTO_IP, IP_TOS, &tos, 1), 0);
    ASSERT_EQ(Send(), 4);
    ASSERT_EQ(Receive(), 4);
    EXPECT_EQ(Number(IPPROTO_IP, IP_TTL), 64);
    EXPECT_EQ(Number(IPPROTO_IP, IP_TOS), tos);
    in_pktinfo info{};
    ASSERT_EQ((items_[{IPPROTO_IP, IP_PKTINFO}].size()), sizeof(info));
    memcpy(&info, items_[{IPPROTO_IP, IP_PKTINFO}].data(), sizeof(info));
    EXPECT_EQ(info.ipi_addr.s_addr, htonl(INADDR_LOOPBACK));
    EXPECT_EQ(info.ipi_ifindex, 1);
    EXPECT_EQ(order_.front(), std::make_pair<int>(IPPROTO_IP, IP_PKTINFO));
    const int ttl = 7;
    ASSERT_EQ(Send(IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 4);
    ASSERT_EQ(Receive(), 4);
    EXPECT_EQ(Number(IPPROTO_IP, IP_TTL), 7);
  } else {
    On(IPPROTO_IPV6, IPV6_RECVPKTINFO);
    On(IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
    On(IPPROTO_IPV6, IPV6_RECVTCLASS);
    const int traffic_class = 0x28, hops = 9;
    ASSERT_EQ(Send(IPPROTO_IPV6, IPV6_TCLASS, &traffic_class, sizeof(int)), 4);
    ASSERT_EQ(Receive(), 4);
    EXPECT_EQ(Number(IPPROTO_IPV6, IPV6_HOPLIMIT), 64);
    EXPECT_EQ(Number(IPPROTO_IPV6, IPV6_TCLASS), traffic_class);
    in6_pktinfo info{};
    ASSERT_EQ((items_[{IPPROTO_IPV6, IPV6_PKTINFO}].size()), sizeof(info));
    memcpy(&info, items_[{IPPROTO_IPV6, IPV6_PKTINFO}].data(), sizeof(info));
    EXPECT_EQ(memcmp(&info.ipi6_addr, &in6addr_loopback, sizeof(in6_addr)), 0);
    ASSERT_EQ(Send(IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(int)), 4);
    ASSERT_EQ(Receive(), 4);
    EXPECT_EQ(Number(IPPROTO_IPV6, IPV6_HOPLIMIT), hops);
  }
  // What does not fit is cut, and said.
  ASSERT_EQ(Send(), 4);
  ASSERT_EQ(Receive(CMSG_LEN(0) + 2), 4);
  EXPECT_TRUE(flags_ & MSG_CTRUNC);
  ASSERT_EQ(Send(), 4);
  ASSERT_EQ(Receive(0), 4);
  EXPECT_TRUE(flags_ & MSG_CTRUNC);
}

TEST_P(DatagramTest, BadItemsAreRefused) {
  const int level = family_ == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  const int ok = 1, bad = 256;
  EXPECT_EQ(Send(level, 250, &ok, sizeof(ok)), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Send(level, family_ == AF_INET ? IP_TTL : IPV6_HOPLIMIT, &bad, sizeof(bad)), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Send(IPPROTO_TCP, 1, &ok, sizeof(ok)), 4) << "items of other levels are not looked at";
}

TEST_P(DatagramTest, Timestamps) {
  timeval before, after;
  gettimeofday(&before, nullptr);
  On(SOL_SOCKET, SO_TIMESTAMP);
  ASSERT_EQ(Send(), 4);
  ASSERT_EQ(Receive(), 4);
  gettimeofday(&after, nullptr);
  timeval stamp;
  ASSERT_EQ((items_[{SOL_SOCKET, SCM_TIMESTAMP}].size()), sizeof(stamp));
  memcpy(&stamp, items_[{SOL_SOCKET, SCM_TIMESTAMP}].data(), sizeof(stamp));
  EXPECT_FALSE(timercmp(&stamp, &before, <));
  EXPECT_FALSE(timercmp(&after, &stamp, <));
  On(SOL_SOCKET, SO_TIMESTAMPNS);
  ASSERT_EQ(Send(), 4);
  ASSERT_EQ(Receive(), 4);
  EXPECT_EQ((items_[{SOL_SOCKET, SCM_TIMESTAMPNS}].size()), sizeof(timespec));
}

TEST_P(DatagramTest, ErrorQueue) {
  const int level = family_ == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  const int name = family_ == AF_INET ? IP_RECVERR : IPV6_RECVERR;
  const int on = 1;
  ASSERT_EQ(setsockopt(sender_, level, name, &on, sizeof(on)), 0);
  EXPECT_EQ(Receive(256, MSG_ERRQUEUE, sender_), -1);
  EXPECT_EQ(errno, EAGAIN);
  close(receiver_);  // nobody is there now
  fds_.erase(fds_.begin());
  ASSERT_EQ(Send(), 4);
  pollfd wait{sender_, POLLIN, 0};
  ASSERT_EQ(poll(&wait, 1, 5000), 1);
  EXPECT_TRUE(wait.revents & POLLERR);
  ASSERT_EQ(Receive(256, MSG_ERRQUEUE, sender_), 4);
  EXPECT_TRUE(flags_ & MSG_ERRQUEUE);
  EXPECT_EQ(memcmp(&from_, &name_, size_), 0) << "names the destination";
  const std::string& item = items_[{level, name}];
  ASSERT_GE(item.size(), sizeof(sock_extended_err));
  sock_extended_err error;
  memcpy(&error, item.data(), sizeof(error));
  EXPECT_EQ(error.ee_errno, static_cast<uint32_t>(ECONNREFUSED));
  EXPECT_EQ(error.ee_origin, family_ == AF_INET ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6);
}

INSTANTIATE_TEST_SUITE_P(Families, DatagramTest,
                         ::testing::Values(std::pair{AF_INET, 0}, std::pair{AF_INET6, 0},
                                           std::pair{AF_INET, IPPROTO_UDPLITE}, std::pair{AF_INET6, IPPROTO_UDPLITE}));

TEST_F(InetOptionsTest, Multicast) {
  const int receiver = Open(AF_INET, SOCK_DGRAM), sender = Open(AF_INET, SOCK_DGRAM);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  ASSERT_EQ(bind(receiver, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
  socklen_t size = sizeof(any);
  ASSERT_EQ(getsockname(receiver, reinterpret_cast<sockaddr*>(&any), &size), 0);
  ip_mreqn request{};
  request.imr_ifindex = 1;  // lo
  request.imr_multiaddr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(setsockopt(receiver, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)), -1);
  EXPECT_EQ(errno, EINVAL) << "no group";
  request.imr_multiaddr.s_addr = htonl(0xefff0102);
  EXPECT_EQ(setsockopt(receiver, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof(request)), -1);
  EXPECT_EQ(errno, EADDRNOTAVAIL);
  ASSERT_EQ(setsockopt(receiver, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)), 0);
  EXPECT_EQ(setsockopt(receiver, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)), -1);
  EXPECT_EQ(errno, EADDRINUSE);
  ASSERT_EQ(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof(request)), 0);
  sockaddr_in group = any;
  group.sin_addr = request.imr_multiaddr;
  ASSERT_EQ(sendto(sender, "all", 3, 0, reinterpret_cast<sockaddr*>(&group), sizeof(group)), 3);
  char data[8];
  EXPECT_EQ(recv(receiver, data, sizeof(data), 0), 3);
  ASSERT_EQ(setsockopt(receiver, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof(request)), 0);
  const int off = 0;
  ASSERT_EQ(setsockopt(receiver, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof(off)), 0);
  ASSERT_EQ(sendto(sender, "all", 3, 0, reinterpret_cast<sockaddr*>(&group), sizeof(group)), 3);
  EXPECT_EQ(recv(receiver, data, sizeof(data), MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(InetOptionsTest, BroadcastNeedsPermission) {
  const int fd = Open(AF_INET, SOCK_DGRAM);
  sockaddr_in all{};
  all.sin_family = AF_INET;
  all.sin_port = htons(9);
  all.sin_addr.s_addr = htonl(0x7fffffff);
  EXPECT_EQ(sendto(fd, "x", 1, 0, reinterpret_cast<sockaddr*>(&all), sizeof(all)), -1);
  EXPECT_EQ(errno, EACCES);
}

}  // namespace
