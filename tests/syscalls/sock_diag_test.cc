// sock_diag(7): dumps of sockets as ss(8) asks for them; and the mode and owner of sockets.
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "tests/util/guest.h"

namespace guest {
namespace {

// The bodies of all answers to one dump.
template <typename Body>
std::vector<std::string> Dump(const Body& body) {
  const ScopedFd fd(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
  EXPECT_GE(fd.get(), 0) << strerror(errno);
  struct {
    nlmsghdr header;
    Body body;
  } request = {};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.header.nlmsg_seq = 7;
  request.body = body;
  EXPECT_EQ(send(fd.get(), &request, sizeof(request), 0), static_cast<ssize_t>(sizeof(request)));
  std::vector<std::string> bodies;
  std::vector<char> buffer(64 * 1024);
  for (;;) {
    ssize_t left = recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (left <= 0) return bodies;
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      EXPECT_EQ(header->nlmsg_seq, 7u);
      if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) return bodies;
      bodies.emplace_back(static_cast<char*>(NLMSG_DATA(header)), NLMSG_PAYLOAD(header, 0));
    }
  }
}

uint32_t InodeOf(int fd) {
  struct stat st;
  EXPECT_OK(fstat(fd, &st));
  return static_cast<uint32_t>(st.st_ino);
}

TEST(SockDiagTest, Streams) {
  const ScopedFd listener(socket(AF_INET, SOCK_STREAM, 0)), bound(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  ASSERT_OK(bind(listener.get(), reinterpret_cast<sockaddr*>(&name), size));
  ASSERT_OK(listen(listener.get(), 5));
  ASSERT_OK(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&name), &size));
  inet_diag_req_v2 request{};
  request.sdiag_family = AF_INET;
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = 1u << 10;  // TCP_LISTEN
  bool found = false;
  for (const std::string& body : Dump(request)) {
    inet_diag_msg message;
    ASSERT_GE(body.size(), sizeof(message));
    memcpy(&message, body.data(), sizeof(message));
    EXPECT_EQ(message.idiag_state, 10);
    if (message.idiag_inode != InodeOf(listener.get())) continue;
    found = true;
    EXPECT_EQ(message.id.idiag_sport, name.sin_port);
    EXPECT_EQ(message.id.idiag_src[0], name.sin_addr.s_addr);
    EXPECT_EQ(message.idiag_uid, geteuid());
  }
  EXPECT_TRUE(found);
  request.idiag_states = 1u << 1;
  for (const std::string& body : Dump(request)) {
    inet_diag_msg message;
    memcpy(&message, body.data(), sizeof(message));
    EXPECT_NE(message.idiag_inode, InodeOf(listener.get()));
  }
}

TEST(SockDiagTest, UnixSockets) {
  const ScopedFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string text = "sock-diag-" + std::to_string(getpid());
  strcpy(name.sun_path + 1, text.c_str());
  ASSERT_OK(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(sa_family_t) + 1 + text.size()));
  ASSERT_OK(listen(fd.get(), 1));
  unix_diag_req request{};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = ~0u;
  request.udiag_show = UDIAG_SHOW_NAME;
  bool found = false;
  for (const std::string& body : Dump(request)) {
    unix_diag_msg message;
    ASSERT_GE(body.size(), sizeof(message));
    memcpy(&message, body.data(), sizeof(message));
    if (message.udiag_ino != InodeOf(fd.get())) continue;
    found = true;
    EXPECT_EQ(message.udiag_type, SOCK_STREAM);
    EXPECT_EQ(message.udiag_state, 10);
    EXPECT_NE(body.find(text), std::string::npos);
  }
  EXPECT_TRUE(found);
}

TEST(SocketAttributesTest, ModeAndOwner) {
  const ScopedFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  struct stat st;
  ASSERT_OK(fstat(fd.get(), &st));
  EXPECT_EQ(st.st_mode, S_IFSOCK | 0777u);
  ASSERT_OK(fchmod(fd.get(), 0640));
  ASSERT_OK(fchown(fd.get(), -1, getgid()));
  ASSERT_OK(fstat(fd.get(), &st));
  EXPECT_EQ(st.st_mode, S_IFSOCK | 0640u);
  if (fchown(fd.get(), 1, 2) != 0) GTEST_SKIP() << "not root";
  ASSERT_OK(fstat(fd.get(), &st));
  EXPECT_EQ(st.st_uid, 1u);
  EXPECT_EQ(st.st_gid, 2u);
}

TEST(SocketOptionsTest, KeptNumbers) {
  const ScopedFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  int value = -1;
  socklen_t size = sizeof(value);
  EXPECT_ERRNO(ENOTCONN, getsockopt(fd.get(), SOL_SOCKET, SO_PEERNAME, &value, &size));
  constexpr int kPreferBusyPoll = 69, kReceiveTimeoutNew = 66;
  const int on = 1;
  if (setsockopt(fd.get(), SOL_SOCKET, kPreferBusyPoll, &on, sizeof(on)) == 0) {
    EXPECT_OK(getsockopt(fd.get(), SOL_SOCKET, kPreferBusyPoll, &value, &size));
    EXPECT_EQ(value, 1);
  }
  const timeval timeout{3, 0};
  ASSERT_OK(setsockopt(fd.get(), SOL_SOCKET, kReceiveTimeoutNew, &timeout, sizeof(timeout)));
  timeval read_back{};
  size = sizeof(read_back);
  ASSERT_OK(getsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &read_back, &size));
  EXPECT_EQ(read_back.tv_sec, 3);
}

TEST(UnixListenerTest, ShutOnesRefuse) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "shut-listener-%d", getpid());
  const ScopedFd listener(socket(AF_UNIX, SOCK_STREAM, 0)), client(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_OK(bind(listener.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)));
  ASSERT_OK(listen(listener.get(), 1));
  ASSERT_OK(shutdown(listener.get(), SHUT_RDWR));
  EXPECT_ERRNO(ECONNREFUSED, connect(client.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)));
}

TEST(UnixCredentialsTest, NobodyHasThatNumber) {
  int pair[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  char byte = 'x';
  iovec iov{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_CREDENTIALS;
  header->cmsg_len = CMSG_LEN(sizeof(ucred));
  const ucred claim{4'000'000, getuid(), getgid()};
  memcpy(CMSG_DATA(header), &claim, sizeof(claim));
  EXPECT_EQ(sendmsg(pair[0], &message, 0), -1);
  EXPECT_TRUE(errno == ESRCH || errno == EPERM) << errno;
  close(pair[0]);
  close(pair[1]);
}

}  // namespace
}  // namespace guest
