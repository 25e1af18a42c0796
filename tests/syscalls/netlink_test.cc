// netlink(7), rtnetlink(7), netdevice(7): what every Linux has, a loopback interface.
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>

namespace {

TEST(NetlinkTest, InterfaceNames) {
  struct if_nameindex* list = if_nameindex();
  ASSERT_NE(list, nullptr);
  bool found = false;
  for (auto* i = list; i->if_name != nullptr; ++i) found = found || std::string(i->if_name) == "lo";
  EXPECT_TRUE(found);
  if_freenameindex(list);
  EXPECT_EQ(if_nametoindex("lo"), 1u);
}

TEST(NetlinkTest, AddressesOfTheLoopback) {
  ifaddrs* list;
  ASSERT_EQ(getifaddrs(&list), 0);
  bool found = false;
  for (ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (std::string(i->ifa_name) != "lo" || i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET) continue;
    sockaddr_in address;
    memcpy(&address, i->ifa_addr, sizeof(address));
    found = found || address.sin_addr.s_addr == htonl(INADDR_LOOPBACK);
    EXPECT_TRUE(i->ifa_flags & IFF_LOOPBACK);
  }
  EXPECT_TRUE(found);
  freeifaddrs(list);
}

TEST(NetlinkTest, ErrorsAndNames) {
  EXPECT_EQ(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE), -1);
  EXPECT_EQ(errno, ESOCKTNOSUPPORT);
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  ASSERT_GE(fd, 0);
  sockaddr_nl name{};
  name.nl_family = AF_NETLINK;
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  socklen_t size = sizeof(name);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size), 0);
  EXPECT_EQ(size, sizeof(name));
  EXPECT_NE(name.nl_pid, 0u);
  struct {
    nlmsghdr header;
    ifinfomsg body;
  } request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_seq = 7;
  request.body.ifi_index = 9999;
  ASSERT_EQ(send(fd, &request, sizeof(request), 0), static_cast<ssize_t>(sizeof(request)));
  char buffer[4096];
  ASSERT_GT(recv(fd, buffer, sizeof(buffer), 0), 0);
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } reply;
  memcpy(&reply, buffer, sizeof(reply));
  EXPECT_EQ(reply.header.nlmsg_type, NLMSG_ERROR);
  EXPECT_EQ(reply.header.nlmsg_seq, 7u);
  EXPECT_EQ(reply.error.error, -ENODEV);
  close(fd);
}

TEST(NetlinkTest, InterfaceRequests) {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  ASSERT_EQ(ioctl(fd, SIOCGIFFLAGS, &request), 0);
  EXPECT_TRUE(request.ifr_flags & IFF_LOOPBACK);
  ASSERT_EQ(ioctl(fd, SIOCGIFMTU, &request), 0);
  EXPECT_EQ(request.ifr_mtu, 65536);
  strcpy(request.ifr_name, "nope0");
  EXPECT_EQ(ioctl(fd, SIOCGIFFLAGS, &request), -1);
  EXPECT_EQ(errno, ENODEV);
  close(fd);
}

}  // namespace
