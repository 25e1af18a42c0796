// Urgent data of unix and TCP streams: MSG_OOB, SO_OOBINLINE, SIOCATMARK, POLLPRI and SIGURG (socket(7), tcp(7)).
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <string>
#include <thread>

namespace {

class UrgentTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (GetParam() == AF_UNIX) {
      int pair[2];
      ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
      a_ = pair[0], b_ = pair[1];
      return;
    }
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(name);
    ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&name), size), 0);
    ASSERT_EQ(listen(listener, 1), 0);
    ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size), 0);
    a_ = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_EQ(connect(a_, reinterpret_cast<sockaddr*>(&name), size), 0);
    b_ = accept(listener, nullptr, nullptr);
    ASSERT_GE(b_, 0);
    close(listener);
  }
  void TearDown() override {
    close(a_);
    close(b_);
  }
  void Send(const std::string& text, int flags) {
    ASSERT_EQ(send(a_, text.data(), text.size(), flags), static_cast<ssize_t>(text.size()));
  }
  void Inline() {
    const int on = 1;
    ASSERT_EQ(setsockopt(b_, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)), 0);
  }
  // What one recv gives; "-" and the errno's name when it fails.
  std::string Receive(size_t size = 100, int flags = 0) {
    std::string bytes(size, 0);
    const ssize_t got = recv(b_, bytes.data(), size, flags | MSG_DONTWAIT);
    if (got < 0) return "-" + std::string(strerrorname_np(errno));
    return bytes.substr(0, got);
  }
  int Mark() {
    int at = -1;
    EXPECT_EQ(ioctl(b_, SIOCATMARK, &at), 0);
    return at;
  }
  int Events() {
    pollfd poll_fd{b_, POLLIN | POLLPRI, 0};
    poll(&poll_fd, 1, 0);
    return poll_fd.revents;
  }
  bool unix_socket() const { return GetParam() == AF_UNIX; }
  int a_ = -1, b_ = -1;
};

INSTANTIATE_TEST_SUITE_P(Families, UrgentTest, testing::Values(AF_UNIX, AF_INET),
                         [](const auto& info) { return info.param == AF_UNIX ? "Unix" : "Tcp"; });

TEST_P(UrgentTest, TheByteIsReadApart) {
  EXPECT_EQ(Receive(1, MSG_OOB), "-EINVAL");
  Send("hello", MSG_OOB);
  EXPECT_EQ(Events(), POLLIN | POLLPRI);
  EXPECT_EQ(Receive(1, MSG_OOB | MSG_PEEK), "o");
  EXPECT_EQ(Receive(1, MSG_OOB), "o");
  EXPECT_EQ(Receive(1, MSG_OOB), "-EINVAL");
  EXPECT_EQ(Events(), POLLIN);
  EXPECT_EQ(Mark(), 0);
  EXPECT_EQ(Receive(), "hell");
  EXPECT_EQ(Mark(), 1);
  EXPECT_EQ(Receive(), "-EAGAIN");
}

TEST_P(UrgentTest, ReadsStopBeforeItAndThenSkipIt) {
  Send("hello", MSG_OOB);
  Send("world", 0);
  EXPECT_EQ(Receive(), "hell");
  EXPECT_EQ(Mark(), 1);
  EXPECT_EQ(Events(), POLLIN | POLLPRI);
  EXPECT_EQ(Receive(), "world");
  EXPECT_EQ(Mark(), 0);
  EXPECT_EQ(Events(), 0);
  EXPECT_EQ(Receive(1, MSG_OOB), "-EINVAL");
}

TEST_P(UrgentTest, TheMarkStaysWhenTheByteWasRead) {
  Send("hello", MSG_OOB);
  Send("world", 0);
  EXPECT_EQ(Receive(1, MSG_OOB), "o");
  EXPECT_EQ(Receive(2), "he");
  EXPECT_EQ(Receive(), "ll");
  EXPECT_EQ(Mark(), 1);
  EXPECT_EQ(Receive(), "world");
  EXPECT_EQ(Mark(), 0);
}

TEST_P(UrgentTest, Inline) {
  Inline();
  Send("hello", MSG_OOB);
  Send("world", 0);
  EXPECT_EQ(Receive(1, MSG_OOB), "-EINVAL");
  EXPECT_EQ(Events(), POLLIN | POLLPRI);
  EXPECT_EQ(Receive(), "hell");
  EXPECT_EQ(Mark(), 1);
  EXPECT_EQ(Receive(), "oworld");
  EXPECT_EQ(Events(), 0);
}

TEST_P(UrgentTest, ANewerByteMakesAnOlderOneOrdinary) {
  Send("ab", MSG_OOB);
  Send("cd", MSG_OOB);
  Send("ef", 0);
  EXPECT_EQ(Receive(1, MSG_OOB), "d");
  EXPECT_EQ(Receive(), "abc");
  EXPECT_EQ(Receive(), "ef");
}

TEST_P(UrgentTest, PeekSkipsIt) {
  Send("hello", MSG_OOB);
  Send("world", 0);
  EXPECT_EQ(Receive(100, MSG_PEEK), "hell");
  EXPECT_EQ(Receive(), "hell");
  EXPECT_EQ(Receive(100, MSG_PEEK), "world");
  EXPECT_EQ(Receive(), "world");
}

TEST_P(UrgentTest, ALoneByte) {
  Send("x", MSG_OOB);
  EXPECT_EQ(Mark(), 1);
  EXPECT_EQ(Events(), unix_socket() ? POLLIN | POLLPRI : POLLPRI);
  EXPECT_EQ(Receive(100, MSG_PEEK), "-EAGAIN");
  EXPECT_EQ(Receive(), "-EAGAIN");
  EXPECT_EQ(Events(), 0);
}

TEST_P(UrgentTest, EndOfFileBehindIt) {
  Send("x", MSG_OOB);
  ASSERT_EQ(shutdown(a_, SHUT_WR), 0);
  EXPECT_EQ(Receive(1, MSG_OOB), "x");
  EXPECT_EQ(Receive(1, MSG_OOB), "-EINVAL");
  EXPECT_EQ(Receive(), "");
}

TEST_P(UrgentTest, MessageFlagAndNoRoom) {
  Send("x", MSG_OOB);
  char byte;
  iovec iov{&byte, 1};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  EXPECT_EQ(recvmsg(b_, &message, MSG_OOB), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_EQ(message.msg_flags & (MSG_OOB | MSG_TRUNC), MSG_OOB);
}

TEST_P(UrgentTest, NothingToSend) {
  EXPECT_EQ(send(a_, "", 0, MSG_OOB), unix_socket() ? -1 : 0);
  if (unix_socket()) {
    EXPECT_EQ(errno, EOPNOTSUPP);
  }
}

TEST_P(UrgentTest, WaitallEndsAtTheMark) {
  Send("abc", MSG_OOB);
  Send("def", 0);
  char bytes[5];
  EXPECT_EQ(recv(b_, bytes, sizeof(bytes), MSG_WAITALL), 2);
}

TEST_P(UrgentTest, WakesThePoller) {
  std::thread sender([&] { Send("x", MSG_OOB); });
  pollfd poll_fd{b_, POLLPRI, 0};
  EXPECT_EQ(poll(&poll_fd, 1, 10'000), 1);
  EXPECT_EQ(poll_fd.revents, POLLPRI);
  sender.join();
}

TEST_P(UrgentTest, TellsTheOwner) {
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGURG);
  ASSERT_EQ(sigprocmask(SIG_BLOCK, &set, &old), 0);
  ASSERT_EQ(fcntl(b_, F_SETOWN, getpid()), 0);
  Send("plain", 0);
  Send("x", MSG_OOB);
  const timespec limit{10, 0};
  siginfo_t info;
  EXPECT_EQ(sigtimedwait(&set, &info, &limit), SIGURG);
  EXPECT_EQ(info.si_code, SI_KERNEL);
  const timespec now{};
  EXPECT_EQ(sigtimedwait(&set, &info, &now), -1);
  sigprocmask(SIG_SETMASK, &old, nullptr);
}

TEST(UrgentKindsTest, PacketsHaveNone) {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, type, 0, pair), 0);
    char byte = 0;
    int at;
    EXPECT_EQ(send(pair[0], "x", 1, MSG_OOB), -1);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_EQ(recv(pair[1], &byte, 1, MSG_OOB | MSG_DONTWAIT), -1);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_EQ(ioctl(pair[1], SIOCATMARK, &at), -1);
    EXPECT_EQ(errno, EOPNOTSUPP);
    close(pair[0]);
    close(pair[1]);
  }
}

}  // namespace
