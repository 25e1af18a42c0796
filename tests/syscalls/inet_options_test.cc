// Ranges of the options of IPPROTO_IP, IPPROTO_IPV6 and IPPROTO_TCP (ip(7), ipv6(7), tcp(7)).
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "tests/util/guest.h"

namespace guest {
namespace {

int Set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof(value)); }

int Get(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  EXPECT_OK(getsockopt(fd, level, name, &value, &size));
  return value;
}

TEST(InetOptionsTest, Tcp) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_OK(Set(fd, IPPROTO_TCP, TCP_NODELAY, 5));
  EXPECT_EQ(Get(fd, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_ERRNO(EINVAL, Set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0));
  EXPECT_ERRNO(EINVAL, Set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 32768));
  EXPECT_OK(Set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 32767));
  EXPECT_EQ(Get(fd, IPPROTO_TCP, TCP_KEEPIDLE), 32767);
  EXPECT_ERRNO(EINVAL, Set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 0));
  EXPECT_ERRNO(EINVAL, Set(fd, IPPROTO_TCP, TCP_KEEPCNT, 128));
  EXPECT_ERRNO(EINVAL, Set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, -1));
  EXPECT_ERRNO(EINVAL, Set(fd, IPPROTO_TCP, TCP_MAXSEG, 10));
  EXPECT_ERRNO(ENOENT, setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "no such", 7));
  EXPECT_ERRNO(ENOPROTOOPT, Set(fd, IPPROTO_TCP, 999, 1));
  close(fd);
}

TEST(InetOptionsTest, Ip) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_ERRNO(EINVAL, Set(fd, IPPROTO_IP, IP_TTL, 0));
  EXPECT_ERRNO(EINVAL, Set(fd, IPPROTO_IP, IP_TTL, 256));
  EXPECT_OK(Set(fd, IPPROTO_IP, IP_TTL, 10));
  EXPECT_EQ(Get(fd, IPPROTO_IP, IP_TTL), 10);
  EXPECT_OK(Set(fd, IPPROTO_IP, IP_TTL, -1));
  EXPECT_EQ(Get(fd, IPPROTO_IP, IP_TTL), 64);
  EXPECT_OK(Set(fd, IPPROTO_IP, IP_TOS, 0xff));
  EXPECT_EQ(Get(fd, IPPROTO_IP, IP_TOS), 0xfc);  // the connection's own bits stay
  int value;
  socklen_t size = sizeof(value);
  EXPECT_ERRNO(EOPNOTSUPP, getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, &size));
  EXPECT_ERRNO(ENOTCONN, getsockopt(fd, IPPROTO_IP, IP_MTU, &value, &size));
  close(fd);
  const int datagram = socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT_OK(Set(datagram, IPPROTO_IP, IP_TOS, 0xff));
  EXPECT_EQ(Get(datagram, IPPROTO_IP, IP_TOS), 0xff);
  EXPECT_ERRNO(EINVAL, Set(datagram, IPPROTO_IP, IP_MULTICAST_TTL, 300));
  EXPECT_ERRNO(ENODEV, setsockopt(datagram, SOL_SOCKET, SO_BINDTODEVICE, "nodevice", 9));
  EXPECT_OK(setsockopt(datagram, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
  close(datagram);
}

TEST(InetOptionsTest, Ipv6) {
  const int fd = socket(AF_INET6, SOCK_STREAM, 0);
  EXPECT_ERRNO(EINVAL, Set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 300));
  EXPECT_OK(Set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255));
  EXPECT_EQ(Get(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 255);
  EXPECT_EQ(Get(fd, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL), 1);
  close(fd);
}

}  // namespace
}  // namespace guest
