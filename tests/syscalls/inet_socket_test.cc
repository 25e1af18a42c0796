// tcp(7), udp(7) over the loopback interface.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

sockaddr_in Local(uint16_t port = 0) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}
const sockaddr* Raw(const sockaddr_in& address) { return reinterpret_cast<const sockaddr*>(&address); }

sockaddr_in NameOf(int fd) {
  sockaddr_in name{};
  socklen_t size = sizeof(name);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size), 0);
  EXPECT_EQ(size, sizeof(name));
  return name;
}

int Listener(sockaddr_in* name) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = Local();
  EXPECT_EQ(bind(fd, Raw(address), sizeof(address)), 0);
  EXPECT_EQ(listen(fd, 16), 0);
  *name = NameOf(fd);
  return fd;
}

struct Connection {
  Connection() {
    listener = Listener(&name);
    client = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(client, Raw(name), sizeof(name)), 0);
    server = accept(listener, nullptr, nullptr);
    EXPECT_GE(server, 0);
  }
  ~Connection() {
    for (const int fd : {listener, client, server}) {
      if (fd >= 0) close(fd);
    }
  }
  sockaddr_in name;
  int listener, client, server;
};

TEST(TcpTest, ConnectAcceptNames) {
  Connection c;
  sockaddr_in peer{};
  socklen_t size = sizeof(peer);
  ASSERT_EQ(getpeername(c.server, reinterpret_cast<sockaddr*>(&peer), &size), 0);
  EXPECT_EQ(peer.sin_port, NameOf(c.client).sin_port);
  ASSERT_EQ(getpeername(c.client, reinterpret_cast<sockaddr*>(&peer), &size), 0);
  EXPECT_EQ(peer.sin_port, c.name.sin_port);
  EXPECT_EQ(NameOf(c.server).sin_port, c.name.sin_port);
}

TEST(TcpTest, DataAndHalfClose) {
  Connection c;
  ASSERT_EQ(send(c.client, "request", 7, 0), 7);
  char buffer[16];
  EXPECT_EQ(recv(c.server, buffer, sizeof(buffer), 0), 7);
  ASSERT_EQ(shutdown(c.client, SHUT_WR), 0);
  EXPECT_EQ(recv(c.server, buffer, sizeof(buffer), 0), 0);
  ASSERT_EQ(send(c.server, "reply", 5, 0), 5);
  EXPECT_EQ(recv(c.client, buffer, sizeof(buffer), 0), 5);
  EXPECT_EQ(send(c.client, "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST(TcpTest, LargeTransfer) {
  Connection c;
  const std::string data(5 << 20, 'd');
  std::thread sender(
      [&] { EXPECT_EQ(send(c.client, data.data(), data.size(), 0), static_cast<ssize_t>(data.size())); });
  size_t got = 0;
  std::vector<char> buffer(100000);
  while (got < data.size()) {
    const ssize_t n = recv(c.server, buffer.data(), buffer.size(), 0);
    ASSERT_GT(n, 0);
    got += n;
  }
  sender.join();
}

TEST(TcpTest, RefusedAndInUse) {
  sockaddr_in name;
  const int listener = Listener(&name);
  const int other = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(bind(other, Raw(name), sizeof(name)), -1);
  EXPECT_EQ(errno, EADDRINUSE);
  close(listener);
  EXPECT_EQ(connect(other, Raw(name), sizeof(name)), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  close(other);
}

TEST(TcpTest, NonBlockingConnect) {
  sockaddr_in name;
  const int listener = Listener(&name);
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  EXPECT_EQ(connect(client, Raw(name), sizeof(name)), -1);
  EXPECT_EQ(errno, EINPROGRESS);
  pollfd request = {client, POLLOUT, 0};
  EXPECT_EQ(poll(&request, 1, 1000), 1);
  int error = -1;
  socklen_t size = sizeof(error);
  EXPECT_EQ(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &size), 0);
  EXPECT_EQ(error, 0);
  EXPECT_EQ(connect(client, Raw(name), sizeof(name)), 0);
  EXPECT_EQ(connect(client, Raw(name), sizeof(name)), -1);
  EXPECT_EQ(errno, EISCONN);
  close(listener);
  close(client);
}

TEST(TcpTest, PeerCloseIsSeenByEpoll) {
  Connection c;
  const int set = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, c.server, &event), 0);
  EXPECT_EQ(epoll_wait(set, &event, 1, 0), 0);
  close(c.client);
  c.client = -1;
  EXPECT_EQ(epoll_wait(set, &event, 1, 1000), 1);
  EXPECT_EQ(event.events, static_cast<uint32_t>(EPOLLIN | EPOLLRDHUP));
  close(set);
}

TEST(TcpTest, UnreadDataResets) {
  Connection c;
  ASSERT_EQ(send(c.client, "lost", 4, 0), 4);
  pollfd arrived = {c.server, POLLIN, 0};
  ASSERT_EQ(poll(&arrived, 1, -1), 1);
  close(c.server);
  c.server = -1;
  char byte;
  EXPECT_EQ(recv(c.client, &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST(TcpTest, Ipv6TakesMappedClients) {
  const int listener = socket(AF_INET6, SOCK_STREAM, 0);
  ASSERT_GE(listener, 0);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  sockaddr_in6 name{};
  socklen_t size = sizeof(name);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size), 0);
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in to = Local(ntohs(name.sin6_port));
  ASSERT_EQ(connect(client, Raw(to), sizeof(to)), 0);
  sockaddr_in6 peer{};
  size = sizeof(peer);
  const int server = accept(listener, reinterpret_cast<sockaddr*>(&peer), &size);
  ASSERT_GE(server, 0);
  EXPECT_EQ(size, sizeof(peer));
  EXPECT_TRUE(IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
  for (const int fd : {listener, client, server}) close(fd);
}

TEST(TcpTest, OptionsReadBack) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  EXPECT_EQ(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
  int value = 0;
  socklen_t size = sizeof(value);
  EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &size), 0);
  EXPECT_EQ(value, IPPROTO_TCP);
  char byte;
  EXPECT_EQ(recv(fd, &byte, 1, 0), -1);
  EXPECT_EQ(errno, ENOTCONN);
  close(fd);
}

TEST(UdpTest, DatagramsAndAddresses) {
  const int receiver = socket(AF_INET, SOCK_DGRAM, 0);
  const sockaddr_in any = Local();
  ASSERT_EQ(bind(receiver, Raw(any), sizeof(any)), 0);
  const sockaddr_in to = NameOf(receiver);
  const int sender = socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT_EQ(send(sender, "x", 1, 0), -1);
  EXPECT_EQ(errno, EDESTADDRREQ);
  ASSERT_EQ(sendto(sender, "hello", 5, 0, Raw(to), sizeof(to)), 5);
  char buffer[3];
  sockaddr_in from{};
  socklen_t size = sizeof(from);
  EXPECT_EQ(recvfrom(receiver, buffer, sizeof(buffer), MSG_TRUNC, reinterpret_cast<sockaddr*>(&from), &size), 5);
  EXPECT_EQ(from.sin_port, NameOf(sender).sin_port);
  EXPECT_EQ(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  EXPECT_EQ(recv(receiver, buffer, sizeof(buffer), MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
  const std::vector<char> huge(70000);
  EXPECT_EQ(sendto(sender, huge.data(), huge.size(), 0, Raw(to), sizeof(to)), -1);
  EXPECT_EQ(errno, EMSGSIZE);
  close(receiver);
  close(sender);
}

TEST(UdpTest, ConnectedSendersLearnOfRefusal) {
  const int gone = socket(AF_INET, SOCK_DGRAM, 0);
  const sockaddr_in any = Local();
  ASSERT_EQ(bind(gone, Raw(any), sizeof(any)), 0);
  const sockaddr_in to = NameOf(gone);
  close(gone);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  ASSERT_EQ(connect(fd, Raw(to), sizeof(to)), 0);
  ASSERT_EQ(send(fd, "x", 1, 0), 1);
  char byte;
  EXPECT_EQ(recv(fd, &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  close(fd);
}

}  // namespace
