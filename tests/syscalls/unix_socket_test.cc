// unix(7): streams, datagrams, seqpackets, names, descriptors and credentials.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/util/sleeping.h"

namespace {

struct SocketPair {
  explicit SocketPair(int type) { EXPECT_EQ(socketpair(AF_UNIX, type, 0, fds), 0); }
  ~SocketPair() {
    Close(0);
    Close(1);
  }
  void Close(int i) {
    if (fds[i] >= 0) close(fds[i]);
    fds[i] = -1;
  }
  int operator[](int i) const { return fds[i]; }
  int fds[2];
};

sockaddr_un Abstract(const std::string& name, socklen_t* size) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path + 1, name.data(), name.size());
  *size = offsetof(sockaddr_un, sun_path) + 1 + name.size();
  return address;
}
std::string UniqueName() {
  static int counter = 0;
  return "runsc-test-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
}

TEST(UnixStreamTest, BothDirectionsAndHalfClose) {
  SocketPair s(SOCK_STREAM);
  ASSERT_EQ(write(s[0], "ping", 4), 4);
  ASSERT_EQ(send(s[1], "pong", 4, 0), 4);
  char buffer[16];
  EXPECT_EQ(read(s[1], buffer, sizeof(buffer)), 4);
  EXPECT_EQ(recv(s[0], buffer, sizeof(buffer), 0), 4);
  ASSERT_EQ(shutdown(s[0], SHUT_WR), 0);
  EXPECT_EQ(read(s[1], buffer, sizeof(buffer)), 0);
  EXPECT_EQ(send(s[0], "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
  EXPECT_EQ(write(s[1], "still", 5), 5);
  EXPECT_EQ(read(s[0], buffer, sizeof(buffer)), 5);
  pollfd request = {s[1], POLLIN | POLLRDHUP, 0};
  EXPECT_EQ(poll(&request, 1, 0), 1);
  EXPECT_EQ(request.revents, POLLIN | POLLRDHUP);
}

TEST(UnixStreamTest, PeerGone) {
  SocketPair s(SOCK_STREAM);
  ASSERT_EQ(write(s[1], "last", 4), 4);
  s.Close(1);
  char buffer[16];
  pollfd request = {s[0], POLLIN, 0};
  EXPECT_EQ(poll(&request, 1, 0), 1);
  EXPECT_EQ(request.revents, POLLIN | POLLHUP);
  EXPECT_EQ(read(s[0], buffer, sizeof(buffer)), 4);
  EXPECT_EQ(read(s[0], buffer, sizeof(buffer)), 0);
  EXPECT_EQ(send(s[0], "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST(UnixStreamTest, LostDataResets) {
  SocketPair s(SOCK_STREAM);
  ASSERT_EQ(write(s[0], "unread", 6), 6);
  s.Close(1);
  char c;
  EXPECT_EQ(read(s[0], &c, 1), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(read(s[0], &c, 1), 0);
}

TEST(UnixStreamTest, PeekWaitallAndDontwait) {
  SocketPair s(SOCK_STREAM);
  char buffer[16] = {};
  EXPECT_EQ(recv(s[0], buffer, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
  ASSERT_EQ(write(s[1], "abc", 3), 3);
  EXPECT_EQ(recv(s[0], buffer, sizeof(buffer), MSG_PEEK), 3);
  int queued;
  EXPECT_EQ(ioctl(s[0], FIONREAD, &queued), 0);
  EXPECT_EQ(queued, 3);
  guest::WhenAsleepIn late(SYS_recvfrom, [&] { (void)!write(s[1], "def", 3); });
  EXPECT_EQ(recv(s[0], buffer, 6, MSG_WAITALL), 6);
  EXPECT_EQ(std::string(buffer, 6), "abcdef");
}

TEST(UnixStreamTest, LargeTransfers) {
  SocketPair s(SOCK_STREAM);
  std::vector<char> data(3 << 20);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + (i >> 12));
  std::thread writer([&] { EXPECT_EQ(write(s[0], data.data(), data.size()), static_cast<ssize_t>(data.size())); });
  std::vector<char> got;
  char buffer[9000];
  while (got.size() < data.size()) {
    const ssize_t n = read(s[1], buffer, sizeof(buffer));
    ASSERT_GT(n, 0);
    got.insert(got.end(), buffer, buffer + n);
  }
  writer.join();
  EXPECT_EQ(got, data);
}

TEST(UnixStreamTest, NonBlockingFillsUp) {
  SocketPair s(SOCK_STREAM | SOCK_NONBLOCK);
  char block[4096] = {};
  size_t total = 0;
  ssize_t n;
  while ((n = write(s[0], block, sizeof(block))) > 0) total += n;
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GE(total, 64u * 1024);
  pollfd request = {s[0], POLLOUT, 0};
  EXPECT_EQ(poll(&request, 1, 0), 0);
  while (read(s[1], block, sizeof(block)) > 0) {
  }
  EXPECT_EQ(poll(&request, 1, 0), 1);
}

TEST(UnixStreamTest, ReceiveTimeout) {
  SocketPair s(SOCK_STREAM);
  const timeval timeout = {0, 30000};
  ASSERT_EQ(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
  char c;
  EXPECT_EQ(read(s[0], &c, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(UnixStreamTest, SigpipeUnlessRefused) {
  SocketPair s(SOCK_STREAM);
  s.Close(1);
  const pid_t child = fork();
  if (child == 0) {
    (void)!write(s[0], "x", 1);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

TEST(UnixNameTest, AbstractListenConnectAccept) {
  socklen_t size;
  const sockaddr_un address = Abstract(UniqueName(), &size);
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int client = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_EQ(connect(client, raw, size), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(listen(listener, 5), -1);
  EXPECT_EQ(errno, EINVAL);
  ASSERT_EQ(bind(listener, raw, size), 0);
  EXPECT_EQ(bind(listener, raw, size), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(bind(client, raw, size), -1);
  EXPECT_EQ(errno, EADDRINUSE);
  ASSERT_EQ(listen(listener, 5), 0);
  EXPECT_EQ(accept(listener, nullptr, nullptr), -1);
  EXPECT_EQ(errno, EAGAIN);
  ASSERT_EQ(connect(client, raw, size), 0);
  EXPECT_EQ(connect(client, raw, size), -1);
  EXPECT_EQ(errno, EISCONN);
  sockaddr_un peer;
  socklen_t peer_size = sizeof(peer);
  const int server = accept4(listener, reinterpret_cast<sockaddr*>(&peer), &peer_size, SOCK_CLOEXEC);
  ASSERT_GE(server, 0);
  EXPECT_EQ(peer_size, sizeof(sa_family_t));
  peer_size = sizeof(peer);
  ASSERT_EQ(getpeername(client, reinterpret_cast<sockaddr*>(&peer), &peer_size), 0);
  EXPECT_EQ(peer_size, size);
  EXPECT_EQ(memcmp(&peer, &address, size), 0);
  ucred creds;
  socklen_t length = sizeof(creds);
  ASSERT_EQ(getsockopt(server, SOL_SOCKET, SO_PEERCRED, &creds, &length), 0);
  EXPECT_EQ(creds.pid, getpid());
  EXPECT_EQ(creds.uid, getuid());
  ASSERT_EQ(write(client, "hi", 2), 2);
  char buffer[4];
  EXPECT_EQ(read(server, buffer, sizeof(buffer)), 2);
  for (const int fd : {listener, client, server}) close(fd);
}

TEST(UnixNameTest, PathNames) {
  char dir[] = "/tmp/unix_testXXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", dir);
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(listener, raw, sizeof(address)), 0);
  struct stat st;
  ASSERT_EQ(stat(address.sun_path, &st), 0);
  EXPECT_TRUE(S_ISSOCK(st.st_mode));
  EXPECT_EQ(open(address.sun_path, O_RDONLY), -1);
  EXPECT_EQ(errno, ENXIO);
  const int client = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_EQ(connect(client, raw, sizeof(address)), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  ASSERT_EQ(listen(listener, 1), 0);
  EXPECT_EQ(connect(client, raw, sizeof(address)), 0);
  sockaddr_un name{};
  socklen_t size = sizeof(name);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size), 0);
  EXPECT_EQ(size, offsetof(sockaddr_un, sun_path) + strlen(address.sun_path) + 1);
  EXPECT_STREQ(name.sun_path, address.sun_path);
  const int wrong = socket(AF_UNIX, SOCK_DGRAM, 0);
  EXPECT_EQ(connect(wrong, raw, sizeof(address)), -1);
  EXPECT_EQ(errno, EPROTOTYPE);
  unlink(address.sun_path);
  EXPECT_EQ(connect(wrong, raw, sizeof(address)), -1);
  EXPECT_EQ(errno, ENOENT);
  for (const int fd : {listener, client, wrong}) close(fd);
  rmdir(dir);
}

TEST(UnixDatagramTest, BoundariesTruncationAndAddresses) {
  socklen_t size;
  const sockaddr_un address = Abstract(UniqueName(), &size);
  const int receiver = socket(AF_UNIX, SOCK_DGRAM, 0);
  ASSERT_EQ(bind(receiver, reinterpret_cast<const sockaddr*>(&address), size), 0);
  const int sender = socket(AF_UNIX, SOCK_DGRAM, 0);
  const sa_family_t family = AF_UNIX;
  ASSERT_EQ(bind(sender, reinterpret_cast<const sockaddr*>(&family), sizeof(family)), 0);  // autobind
  EXPECT_EQ(send(sender, "x", 1, 0), -1);
  EXPECT_EQ(errno, ENOTCONN);
  ASSERT_EQ(sendto(sender, "longer", 6, 0, reinterpret_cast<const sockaddr*>(&address), size), 6);
  ASSERT_EQ(connect(sender, reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(send(sender, "", 0, 0), 0);
  char buffer[3];
  sockaddr_un from;
  socklen_t from_size = sizeof(from);
  EXPECT_EQ(recvfrom(receiver, buffer, sizeof(buffer), MSG_TRUNC, reinterpret_cast<sockaddr*>(&from), &from_size), 6);
  EXPECT_EQ(from_size, offsetof(sockaddr_un, sun_path) + 6);
  EXPECT_EQ(recv(receiver, buffer, sizeof(buffer), 0), 0);
  close(receiver);
  EXPECT_EQ(send(sender, "x", 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  close(sender);
}

TEST(UnixDatagramTest, PairKeepsMessages) {
  SocketPair s(SOCK_DGRAM);
  ASSERT_EQ(write(s[0], "one", 3), 3);
  ASSERT_EQ(write(s[0], "three", 5), 5);
  char buffer[16];
  EXPECT_EQ(read(s[1], buffer, sizeof(buffer)), 3);
  EXPECT_EQ(read(s[1], buffer, sizeof(buffer)), 5);
  const std::vector<char> huge(1 << 20);
  EXPECT_EQ(send(s[0], huge.data(), huge.size(), 0), -1);
  EXPECT_EQ(errno, EMSGSIZE);
}

TEST(UnixSeqpacketTest, MessagesAndEndOfFile) {
  SocketPair s(SOCK_SEQPACKET);
  ASSERT_EQ(write(s[0], "first", 5), 5);
  ASSERT_EQ(write(s[0], "second", 6), 6);
  char buffer[4];
  iovec iov = {buffer, sizeof(buffer)};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  EXPECT_EQ(recvmsg(s[1], &message, 0), 4);
  EXPECT_TRUE(message.msg_flags & MSG_TRUNC);
  EXPECT_EQ(read(s[1], buffer, sizeof(buffer)), 4);
  s.Close(0);
  EXPECT_EQ(read(s[1], buffer, sizeof(buffer)), 0);
}

// Sends one byte with descriptors.
ssize_t SendFds(int socket, const std::vector<int>& fds) {
  char c = 'f';
  iovec iov = {&c, 1};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  return sendmsg(socket, &message, 0);
}

std::vector<int> ReceiveFds(int socket, size_t room, int* flags) {
  char c;
  iovec iov = {&c, 1};
  std::vector<char> control(CMSG_SPACE(room * sizeof(int)));
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = room > 0 ? CMSG_LEN(room * sizeof(int)) : 0;
  EXPECT_EQ(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), 1);
  *flags = message.msg_flags;
  std::vector<int> fds;
  for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    fds.resize((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds.data(), CMSG_DATA(h), fds.size() * sizeof(int));
  }
  return fds;
}

TEST(UnixRightsTest, DescriptorsTravel) {
  SocketPair s(SOCK_STREAM);
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  ASSERT_EQ(SendFds(s[0], {pipe_fds[1], 0}), 1);
  close(pipe_fds[1]);
  int flags;
  const std::vector<int> got = ReceiveFds(s[1], 2, &flags);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_FALSE(flags & MSG_CTRUNC);
  EXPECT_EQ(fcntl(got[0], F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(write(got[0], "x", 1), 1);
  char c;
  EXPECT_EQ(read(pipe_fds[0], &c, 1), 1);
  close(got[0]);
  close(got[1]);
  EXPECT_EQ(read(pipe_fds[0], &c, 1), 0);
  close(pipe_fds[0]);
}

TEST(UnixRightsTest, TooLittleRoomTruncates) {
  SocketPair s(SOCK_STREAM);
  ASSERT_EQ(SendFds(s[0], {0, 0, 0}), 1);
  int flags;
  const std::vector<int> got = ReceiveFds(s[1], 1, &flags);
  EXPECT_EQ(got.size(), 1u);
  EXPECT_TRUE(flags & MSG_CTRUNC);
  for (const int fd : got) close(fd);
  EXPECT_EQ(SendFds(s[0], {9999}), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(UnixRightsTest, CredentialsOnRequest) {
  SocketPair s(SOCK_STREAM);
  const int on = 1;
  ASSERT_EQ(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
  ASSERT_EQ(write(s[0], "x", 1), 1);
  char c, control[CMSG_SPACE(sizeof(ucred))];
  iovec iov = {&c, 1};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ASSERT_EQ(recvmsg(s[1], &message, 0), 1);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  ASSERT_NE(header, nullptr);
  EXPECT_EQ(header->cmsg_type, SCM_CREDENTIALS);
  ucred creds;
  memcpy(&creds, CMSG_DATA(header), sizeof(creds));
  EXPECT_EQ(creds.pid, getpid());
  EXPECT_EQ(creds.uid, getuid());
}

TEST(UnixSocketTest, MultipleMessagesAtOnce) {
  SocketPair s(SOCK_DGRAM);
  char a[] = "one", b[] = "two22";
  iovec out[2] = {{a, 3}, {b, 5}};
  mmsghdr messages[2] = {};
  for (int i = 0; i < 2; ++i) {
    messages[i].msg_hdr.msg_iov = &out[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  EXPECT_EQ(sendmmsg(s[0], messages, 2, 0), 2);
  EXPECT_EQ(messages[1].msg_len, 5u);
  char x[8], y[8];
  iovec in[2] = {{x, sizeof(x)}, {y, sizeof(y)}};
  for (int i = 0; i < 2; ++i) messages[i].msg_hdr.msg_iov = &in[i];
  EXPECT_EQ(recvmmsg(s[1], messages, 2, MSG_WAITFORONE, nullptr), 2);
  EXPECT_EQ(messages[0].msg_len, 3u);
  EXPECT_EQ(messages[1].msg_len, 5u);
}

TEST(UnixSocketTest, ChecksArguments) {
  EXPECT_EQ(socket(AF_UNIX, SOCK_STREAM, 77), -1);
  EXPECT_EQ(errno, EPROTONOSUPPORT);
  EXPECT_EQ(socket(AF_UNIX, SOCK_RDM, 0), -1);
  EXPECT_EQ(errno, ESOCKTNOSUPPORT);
  EXPECT_EQ(socket(999, SOCK_STREAM, 0), -1);
  EXPECT_EQ(errno, EAFNOSUPPORT);
  EXPECT_EQ(socket(AF_UNIX, 0x1000 | SOCK_STREAM, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(listen(0, 1), -1);
  EXPECT_EQ(errno, ENOTSOCK);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_INET;
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), 10), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), 500), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(8), 10), -1);
  EXPECT_EQ(errno, EFAULT);
  char c;
  EXPECT_EQ(recv(fd, &c, 1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(send(fd, &c, 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, ENOTCONN);
  int type;
  socklen_t size = sizeof(type);
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), 0);
  EXPECT_EQ(type, SOCK_STREAM);
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, 9999, &type, &size), -1);
  EXPECT_EQ(errno, ENOPROTOOPT);
  close(fd);
}

}  // namespace
