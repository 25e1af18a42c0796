// How TCP connections end: FIN, reset, half-closed; and what refused attempts leave (tcp(7)).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "tests/util/guest.h"

namespace guest {
namespace {

class TcpEndTest : public testing::Test {
 protected:
  void SetUp() override {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    name_.sin_family = AF_INET;
    name_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(name_);
    ASSERT_OK(bind(listener_, reinterpret_cast<sockaddr*>(&name_), size));
    ASSERT_OK(listen(listener_, 4));
    ASSERT_OK(getsockname(listener_, reinterpret_cast<sockaddr*>(&name_), &size));
    client_ = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_OK(Connect(client_));
    server_ = accept(listener_, nullptr, nullptr);
    ASSERT_GE(server_, 0);
  }
  void TearDown() override {
    for (const int fd : {client_, server_, listener_}) {
      if (fd >= 0) close(fd);
    }
  }
  int Connect(int fd) { return connect(fd, reinterpret_cast<sockaddr*>(&name_), sizeof(name_)); }
  void CloseServer() {
    close(server_);
    server_ = -1;
  }
  void Reset() {
    const linger now{1, 0};
    ASSERT_OK(setsockopt(server_, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
    CloseServer();
  }
  // What happened at the other end has arrived.
  short Wait(int fd, short events = POLLIN | POLLOUT | POLLRDHUP) {
    pollfd poll_fd{fd, POLLIN, 0};
    poll(&poll_fd, 1, 10'000);
    poll_fd.events = events;
    poll(&poll_fd, 1, 0);
    return poll_fd.revents;
  }
  static std::string Receive(int fd) {
    char bytes[64];
    const ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    return got < 0 ? "-" + std::string(strerrorname_np(errno)) : std::string(bytes, got);
  }
  static std::string Send(int fd) {
    return send(fd, "y", 1, MSG_NOSIGNAL) == 1 ? "ok" : "-" + std::string(strerrorname_np(errno));
  }
  static int Error(int fd) {
    int error = -1;
    socklen_t size = sizeof(error);
    EXPECT_OK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
    return error;
  }
  static int State(int fd) {
    tcp_info info{};
    socklen_t size = sizeof(info);
    EXPECT_OK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size));
    return info.tcpi_state;
  }
  static int Peer(int fd) {
    sockaddr_in peer;
    socklen_t size = sizeof(peer);
    return getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size);
  }
  sockaddr_in name_{};
  int listener_ = -1, client_ = -1, server_ = -1;
};

TEST_F(TcpEndTest, AResetLeavesWhatArrivedBefore) {
  ASSERT_EQ(send(server_, "data", 4, 0), 4);
  Reset();
  EXPECT_EQ(Wait(client_), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
  EXPECT_EQ(State(client_), TCP_CLOSE);
  EXPECT_ERRNO(ENOTCONN, Peer(client_));
  EXPECT_EQ(Receive(client_), "data");
  EXPECT_EQ(Receive(client_), "-ECONNRESET");
  EXPECT_EQ(Receive(client_), "");
  EXPECT_EQ(Send(client_), "-EPIPE");
  EXPECT_ERRNO(ENOTCONN, shutdown(client_, SHUT_RDWR));
}

TEST_F(TcpEndTest, ASenderHearsOfTheResetOnce) {
  Reset();
  Wait(client_);
  EXPECT_EQ(Send(client_), "-ECONNRESET");
  EXPECT_EQ(Send(client_), "-EPIPE");
  EXPECT_EQ(Receive(client_), "");
}

TEST_F(TcpEndTest, UnreadDataMakesACloseAReset) {
  ASSERT_EQ(Send(client_), "ok");
  Wait(server_);
  CloseServer();
  Wait(client_);
  EXPECT_EQ(Error(client_), ECONNRESET);
  EXPECT_EQ(Error(client_), 0);
  EXPECT_ERRNO(ENOTCONN, Peer(client_));
}

TEST_F(TcpEndTest, WritingToAClosedPeerDrawsAReset) {
  ASSERT_EQ(send(server_, "data", 4, 0), 4);
  CloseServer();
  Wait(client_);
  EXPECT_OK(Peer(client_));
  EXPECT_EQ(State(client_), TCP_CLOSE_WAIT);
  EXPECT_EQ(Send(client_), "ok");
  EXPECT_EQ(Wait(client_), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
  EXPECT_EQ(State(client_), TCP_CLOSE);
  EXPECT_EQ(Receive(client_), "data");
  EXPECT_EQ(Receive(client_), "");
  EXPECT_EQ(Send(client_), "-EPIPE");
  EXPECT_EQ(Send(client_), "-EPIPE");
}

TEST_F(TcpEndTest, ALongWriteToAClosedPeerEndsSoon) {
  CloseServer();
  Wait(client_);
  const std::string large(4 << 20, 'x');
  EXPECT_LT(send(client_, large.data(), large.size(), MSG_NOSIGNAL), static_cast<ssize_t>(large.size()));
}

TEST_F(TcpEndTest, ShutForReadingStillReads) {
  ASSERT_OK(shutdown(server_, SHUT_RD));
  EXPECT_EQ(Receive(server_), "");
  EXPECT_EQ(Send(client_), "ok");
  Wait(server_);
  while (Receive(server_).empty()) continue;  // it is on its way
  EXPECT_EQ(Send(client_), "ok");
}

TEST_F(TcpEndTest, BothSidesShut) {
  ASSERT_OK(shutdown(client_, SHUT_WR));
  EXPECT_OK(shutdown(client_, SHUT_WR));
  EXPECT_EQ(Receive(server_), "");
  ASSERT_OK(shutdown(server_, SHUT_WR));
  Wait(client_);
  EXPECT_ERRNO(ENOTCONN, Peer(client_));
  EXPECT_ERRNO(ENOTCONN, shutdown(client_, SHUT_RDWR));
  EXPECT_EQ(State(client_), TCP_CLOSE);
}

TEST_F(TcpEndTest, AListenerThatClosesResetsWhoWaits) {
  const int waiting = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_OK(Connect(waiting));
  close(listener_);
  listener_ = -1;
  Wait(waiting);
  EXPECT_EQ(Receive(waiting), "-ECONNRESET");
  EXPECT_EQ(Send(waiting), "-EPIPE");
  close(waiting);
}

TEST_F(TcpEndTest, ARefusedAttemptThatDidNotWait) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in nobody = name_;
  nobody.sin_port = htons(1);
  EXPECT_ERRNO(EINPROGRESS, connect(fd, reinterpret_cast<sockaddr*>(&nobody), sizeof(nobody)));
  EXPECT_EQ(Wait(fd), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
  EXPECT_EQ(Error(fd), ECONNREFUSED);
  EXPECT_ERRNO(ECONNABORTED, connect(fd, reinterpret_cast<sockaddr*>(&nobody), sizeof(nobody)));
  EXPECT_ERRNO(EINPROGRESS, Connect(fd));
  pollfd poll_fd{fd, POLLOUT, 0};
  EXPECT_EQ(poll(&poll_fd, 1, 10'000), 1);
  EXPECT_OK(Connect(fd));
  EXPECT_ERRNO(EISCONN, Connect(fd));
  close(fd);
}

TEST_F(TcpEndTest, ASmallBufferHoldsASenderBack) {
  const int small = 4096;
  ASSERT_OK(setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
  ASSERT_OK(Connect(fd));
  const std::string large(128 << 10, 'x');
  EXPECT_LT(send(fd, large.data(), large.size(), MSG_DONTWAIT), static_cast<ssize_t>(large.size()));
  close(fd);
}

class UdpGatherTest : public testing::Test {
 protected:
  void SetUp() override {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(name);
    ASSERT_OK(bind(to_, reinterpret_cast<sockaddr*>(&name), size));
    ASSERT_OK(getsockname(to_, reinterpret_cast<sockaddr*>(&name), &size));
    ASSERT_OK(connect(from_, reinterpret_cast<sockaddr*>(&name), size));
  }
  void TearDown() override {
    close(to_);
    close(from_);
  }
  std::string Receive() {
    char bytes[64];
    const ssize_t got = recv(to_, bytes, sizeof(bytes), MSG_DONTWAIT);
    return got < 0 ? "-" + std::string(strerrorname_np(errno)) : std::string(bytes, got);
  }
  int to_ = socket(AF_INET, SOCK_DGRAM, 0), from_ = socket(AF_INET, SOCK_DGRAM, 0);
};

TEST_F(UdpGatherTest, MoreToCome) {
  ASSERT_EQ(send(from_, "ab", 2, MSG_MORE), 2);
  ASSERT_EQ(send(from_, "cd", 2, MSG_MORE), 2);
  EXPECT_EQ(Receive(), "-EAGAIN");
  ASSERT_EQ(send(from_, "e", 1, 0), 1);
  EXPECT_EQ(Receive(), "abcde");
}

TEST_F(UdpGatherTest, Corked) {
  constexpr int kCork = 1;  // UDP_CORK
  int on = 1;
  ASSERT_OK(setsockopt(from_, IPPROTO_UDP, kCork, &on, sizeof(on)));
  ASSERT_EQ(send(from_, "12", 2, 0), 2);
  ASSERT_EQ(send(from_, "34", 2, 0), 2);
  EXPECT_EQ(Receive(), "-EAGAIN");
  on = 0;
  ASSERT_OK(setsockopt(from_, IPPROTO_UDP, kCork, &on, sizeof(on)));
  EXPECT_EQ(Receive(), "1234");
}

TEST(UdpTest, SocketsThatShareAPortShareTheLoad) {
  const int on = 1;
  int fds[2];
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  for (int& fd : fds) {
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
    ASSERT_OK(bind(fd, reinterpret_cast<sockaddr*>(&name), size));
    ASSERT_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size));
  }
  for (int i = 0; i < 64; ++i) {
    const int from = socket(AF_INET, SOCK_DGRAM, 0);
    EXPECT_EQ(sendto(from, "x", 1, 0, reinterpret_cast<sockaddr*>(&name), size), 1);
    close(from);
  }
  int all = 0;
  for (const int fd : fds) {
    int got = 0;
    char byte;
    while (recv(fd, &byte, 1, 0) == 1) ++got;
    EXPECT_GT(got, 0);
    all += got;
    close(fd);
  }
  EXPECT_EQ(all, 64);
}

TEST(UdpTest, ShutdownActsWithoutAPeer) {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(9);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_ERRNO(ENOTCONN, shutdown(fd, SHUT_WR));
  EXPECT_ERRNO(EPIPE, sendto(fd, "x", 1, MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&name), sizeof(name)));
  close(fd);
}

}  // namespace
}  // namespace guest
