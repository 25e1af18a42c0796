// Files and processes that travel with unix messages: sockets that only messages refer to, limits, pidfds (unix(7)).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace {

constexpr int kPassPidfd = 76, kPeerPidfd = 77, kScmPidfd = 4;  // SO_PASSPIDFD, SO_PEERPIDFD, SCM_PIDFD

// Sends one byte with `fds`; the result of sendmsg.
ssize_t SendFiles(int socket, const std::vector<int>& fds) {
  char byte = 'f';
  iovec iov{&byte, 1};
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
  return sendmsg(socket, &message, MSG_DONTWAIT);
}

// The first int of the control message of that type, or -1.
int ReceiveControl(int socket, int type, int flags = 0) {
  char byte;
  iovec iov{&byte, 1};
  char control[256];
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (recvmsg(socket, &message, flags) < 0) return -1;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != type) continue;
    int value;
    memcpy(&value, CMSG_DATA(header), sizeof(value));
    return value;
  }
  return -1;
}

class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe(fds_), 0); }
  ~Pipe() {
    close(fds_[0]);
    CloseWriter();
  }
  int writer() const { return fds_[1]; }
  void CloseWriter() {
    if (fds_[1] >= 0) close(fds_[1]);
    fds_[1] = -1;
  }
  // Waits up to 10 s.
  bool HungUp(int timeout_ms = 10'000) const {
    pollfd poll_fd{fds_[0], POLLIN, 0};
    return poll(&poll_fd, 1, timeout_ms) == 1 && (poll_fd.revents & POLLHUP);
  }

 private:
  int fds_[2];
};

// Unreachable sockets are looked for when a unix socket ends.
void EndASocket() { close(socket(AF_UNIX, SOCK_STREAM, 0)); }

class RightsTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Types, RightsTest, testing::Values(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET));

TEST_P(RightsTest, ASocketInItsOwnQueueIsCollected) {
  Pipe pipe;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, GetParam(), 0, pair), 0);
  ASSERT_EQ(SendFiles(pair[0], {pair[1], pipe.writer()}), 1);
  pipe.CloseWriter();
  close(pair[0]);
  EXPECT_FALSE(pipe.HungUp(0));
  close(pair[1]);
  EndASocket();
  EXPECT_TRUE(pipe.HungUp());
}

TEST_P(RightsTest, ACycleOfTwoPairsIsCollected) {
  Pipe pipe;
  int one[2], two[2];
  ASSERT_EQ(socketpair(AF_UNIX, GetParam(), 0, one), 0);
  ASSERT_EQ(socketpair(AF_UNIX, GetParam(), 0, two), 0);
  ASSERT_EQ(SendFiles(one[0], {two[0], two[1]}), 1);
  ASSERT_EQ(SendFiles(two[0], {one[0], one[1], pipe.writer()}), 1);
  pipe.CloseWriter();
  for (const int fd : {one[0], one[1], two[0], two[1]}) close(fd);
  EndASocket();
  EXPECT_TRUE(pipe.HungUp());
}

TEST_P(RightsTest, WhatCanStillBeReceivedStays) {
  Pipe pipe;
  int outer[2], inner[2];
  ASSERT_EQ(socketpair(AF_UNIX, GetParam(), 0, outer), 0);
  ASSERT_EQ(socketpair(AF_UNIX, GetParam(), 0, inner), 0);
  // The pipe is in the inner pair's queue, both ends of which are on their way to outer[1].
  ASSERT_EQ(SendFiles(inner[0], {pipe.writer()}), 1);
  ASSERT_EQ(SendFiles(outer[0], {inner[1]}), 1);
  pipe.CloseWriter();
  close(inner[0]);
  close(inner[1]);
  EndASocket();
  EXPECT_FALSE(pipe.HungUp(0));
  const int again = ReceiveControl(outer[1], SCM_RIGHTS);
  ASSERT_GE(again, 0);
  const int writer = ReceiveControl(again, SCM_RIGHTS);
  ASSERT_GE(writer, 0);
  EXPECT_FALSE(pipe.HungUp(0));
  close(writer);
  EXPECT_TRUE(pipe.HungUp());
  close(again);
  close(outer[0]);
  close(outer[1]);
}

TEST(RightsPeekTest, PeekingKeepsTheFileThere) {
  Pipe pipe;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  ASSERT_EQ(SendFiles(pair[0], {pipe.writer()}), 1);
  pipe.CloseWriter();
  const int first = ReceiveControl(pair[1], SCM_RIGHTS, MSG_PEEK), second = ReceiveControl(pair[1], SCM_RIGHTS);
  EXPECT_GE(first, 0);
  EXPECT_GE(second, 0);
  close(first);
  EXPECT_FALSE(pipe.HungUp(0));
  close(second);
  EXPECT_TRUE(pipe.HungUp());
  close(pair[0]);
  close(pair[1]);
}

TEST(RightsListenerTest, ConnectionsThatNobodyAcceptsAreLookedInto) {
  Pipe pipe;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "rights-test-%d", getpid());
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(SendFiles(client, {listener, pipe.writer()}), 1);
  pipe.CloseWriter();
  close(listener);
  EXPECT_FALSE(pipe.HungUp(0));
  close(client);
  EndASocket();
  EXPECT_TRUE(pipe.HungUp());
}

TEST(RightsLimitTest, TooManyInFlight) {
  const pid_t child = fork();
  if (child == 0) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0 || setresuid(54321, 54321, 54321) != 0) _exit(1);
    const rlimit limit{8, 8};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(2);
    for (int i = 0; i < 9; ++i) {
      if (SendFiles(pair[0], {pair[0]}) != 1) _exit(10 + i);
    }
    if (SendFiles(pair[0], {pair[0]}) != -1 || errno != ETOOMANYREFS) _exit(3);
    if (ReceiveControl(pair[1], SCM_RIGHTS) < 0) _exit(4);
    _exit(SendFiles(pair[0], {pair[0]}) == 1 ? 0 : 5);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 1) GTEST_SKIP() << "cannot change the user";
  EXPECT_EQ(status, 0);
}

pid_t PidOf(int pidfd) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(pidfd);
  FILE* const file = fopen(path.c_str(), "r");
  if (file == nullptr) return -1;
  char line[128];
  int pid = -1;
  while (fgets(line, sizeof(line), file) != nullptr) sscanf(line, "Pid: %d", &pid);
  fclose(file);
  return pid;
}

TEST(PidfdOfPeerTest, SocketPairAndMessages) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  int pidfd = -1;
  socklen_t size = sizeof(pidfd);
  ASSERT_EQ(getsockopt(pair[0], SOL_SOCKET, kPeerPidfd, &pidfd, &size), 0);
  EXPECT_EQ(PidOf(pidfd), getpid());
  EXPECT_TRUE(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);
  close(pidfd);
  int on = 1;
  ASSERT_EQ(setsockopt(pair[1], SOL_SOCKET, kPassPidfd, &on, sizeof(on)), 0);
  on = 0;
  ASSERT_EQ(getsockopt(pair[1], SOL_SOCKET, kPassPidfd, &on, &size), 0);
  EXPECT_EQ(on, 1);
  const pid_t child = fork();
  if (child == 0) {
    char byte;
    if (write(pair[0], "x", 1) != 1) _exit(1);
    _exit(read(pair[0], &byte, 1) == 1 ? 0 : 2);
  }
  pidfd = ReceiveControl(pair[1], kScmPidfd);
  EXPECT_EQ(PidOf(pidfd), child);
  close(pidfd);
  ASSERT_EQ(write(pair[1], "x", 1), 1);
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  close(pair[0]);
  close(pair[1]);
}

TEST(PidfdOfPeerTest, NobodyIsThere) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  int pidfd = -1;
  socklen_t size = sizeof(pidfd);
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, kPeerPidfd, &pidfd, &size), -1);
  EXPECT_EQ(errno, ENODATA);
  close(fd);
}

}  // namespace
