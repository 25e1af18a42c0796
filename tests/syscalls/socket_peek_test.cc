// SO_PEEK_OFF (socket(7)) and connect(2) with AF_UNSPEC.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace {

std::string Receive(int fd, size_t size, int flags) {
  std::string bytes(size, 0);
  const ssize_t got = recv(fd, bytes.data(), size, flags | MSG_DONTWAIT);
  if (got < 0) return "-" + std::string(strerrorname_np(errno));
  return bytes.substr(0, got);
}

void SetOffset(int fd, int offset) { ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)), 0); }
int Offset(int fd) {
  int offset = -2;
  socklen_t size = sizeof(offset);
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &size), 0);
  return offset;
}

TEST(PeekOffsetTest, Streams) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  EXPECT_EQ(Offset(pair[1]), -1);
  ASSERT_EQ(write(pair[0], "abcd", 4), 4);
  ASSERT_EQ(write(pair[0], "efgh", 4), 4);
  SetOffset(pair[1], 2);
  EXPECT_EQ(Receive(pair[1], 1, MSG_PEEK), "c");
  EXPECT_EQ(Receive(pair[1], 3, MSG_PEEK), "def");
  EXPECT_EQ(Offset(pair[1]), 6);
  EXPECT_EQ(Receive(pair[1], 5, 0), "abcde");
  EXPECT_EQ(Offset(pair[1]), 1);
  EXPECT_EQ(Receive(pair[1], 9, MSG_PEEK), "gh");
  EXPECT_EQ(Receive(pair[1], 9, MSG_PEEK), "-EAGAIN");
  SetOffset(pair[1], -1);
  EXPECT_EQ(Receive(pair[1], 9, MSG_PEEK), "fgh");
  EXPECT_EQ(Receive(pair[1], 9, MSG_PEEK), "fgh");
  close(pair[0]);
  close(pair[1]);
}

TEST(PeekOffsetTest, Datagrams) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
  ASSERT_EQ(write(pair[0], "abcd", 4), 4);
  ASSERT_EQ(write(pair[0], "efgh", 4), 4);
  SetOffset(pair[1], 0);
  EXPECT_EQ(Receive(pair[1], 2, MSG_PEEK), "ab");
  EXPECT_EQ(Receive(pair[1], 9, MSG_PEEK), "cd");
  EXPECT_EQ(Receive(pair[1], 9, MSG_PEEK), "efgh");
  EXPECT_EQ(Receive(pair[1], 9, MSG_PEEK), "-EAGAIN");
  EXPECT_EQ(Receive(pair[1], 9, 0), "abcd");
  EXPECT_EQ(Offset(pair[1]), 4);
  close(pair[0]);
  close(pair[1]);
}

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return name;
}
sockaddr_in NameOf(int fd) {
  sockaddr_in name{};
  socklen_t size = sizeof(name);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size), 0);
  return name;
}
int Connect(int fd, const sockaddr_in& name) {
  return connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name));
}
int Disconnect(int fd) {
  const sockaddr none{AF_UNSPEC, {}};
  return connect(fd, &none, sizeof(none));
}

TEST(DisconnectTest, DatagramsForgetWhatBindDidNotSay) {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  ASSERT_EQ(Connect(fd, Loopback(9)), 0);
  EXPECT_NE(NameOf(fd).sin_port, 0);
  ASSERT_EQ(Disconnect(fd), 0);
  EXPECT_EQ(NameOf(fd).sin_port, 0);
  EXPECT_EQ(NameOf(fd).sin_addr.s_addr, htonl(INADDR_ANY));
  EXPECT_EQ(send(fd, "x", 1, 0), -1);
  EXPECT_EQ(errno, EDESTADDRREQ);
  close(fd);
}

TEST(DisconnectTest, StreamsMayConnectAgain) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in any = Loopback(0);
  ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&any), sizeof(any)), 0);
  ASSERT_EQ(listen(listener, 4), 0);
  const sockaddr_in name = NameOf(listener);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(Connect(fd, name), 0);
  const int first = accept(listener, nullptr, nullptr);
  ASSERT_EQ(Disconnect(fd), 0);
  char byte;
  EXPECT_EQ(read(first, &byte, 1), -1);
  EXPECT_EQ(errno, ECONNRESET);
  sockaddr_in peer;
  socklen_t size = sizeof(peer);
  EXPECT_EQ(getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size), -1);
  EXPECT_EQ(errno, ENOTCONN);
  ASSERT_EQ(Connect(fd, name), 0);
  const int second = accept(listener, nullptr, nullptr);
  ASSERT_EQ(write(second, "y", 1), 1);
  EXPECT_EQ(read(fd, &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  // A listener stops to listen.
  ASSERT_EQ(Disconnect(listener), 0);
  EXPECT_EQ(accept(listener, nullptr, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  for (const int each : {first, second, fd, listener}) close(each);
}

}  // namespace
