// Classic BPF filters of sockets (socket(7), SO_ATTACH_FILTER) and IPV6_ADDRFORM (ipv6(7)).
#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/util/guest.h"

namespace guest {
namespace {

using Program = std::vector<sock_filter>;

int Attach(int fd, const Program& program) {
  const sock_fprog all = {static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof(all));
}

const Program kAll = {BPF_STMT(BPF_RET | BPF_K, 0xffff)};
const Program kNone = {BPF_STMT(BPF_RET | BPF_K, 0)};

std::string Receive(int fd) {
  char buffer[64];
  const ssize_t size = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
  return size < 0 ? strerrorname_np(errno) : std::string(buffer, static_cast<size_t>(size));
}

struct UnixPair {
  UnixPair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0); }
  ~UnixPair() {
    close(fd[0]);
    close(fd[1]);
  }
  int fd[2] = {-1, -1};
};

TEST(SocketFilterTest, Arguments) {
  UnixPair pair;
  const int fd = pair.fd[0];
  sock_fprog all = {1, nullptr};
  EXPECT_ERRNO(EINVAL, setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof(all)));
  EXPECT_ERRNO(EINVAL, setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof(all) - 1));
  all.filter = static_cast<sock_filter*>(BadPointer());
  EXPECT_ERRNO(EFAULT, setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof(all)));
  EXPECT_ERRNO(EINVAL, Attach(fd, {}));
  EXPECT_ERRNO(EINVAL, Attach(fd, Program(4097, BPF_STMT(BPF_RET | BPF_K, 0))));
  EXPECT_ERRNO(EINVAL, Attach(fd, {BPF_STMT(BPF_LD | BPF_IMM, 0)})) << "does not return";
  EXPECT_ERRNO(EINVAL, Attach(fd, {BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), BPF_STMT(BPF_RET | BPF_K, 0)}));
  EXPECT_ERRNO(EINVAL, Attach(fd, {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0)}));
  EXPECT_ERRNO(EINVAL, Attach(fd, {BPF_STMT(BPF_LD | BPF_MEM, 16), BPF_STMT(BPF_RET | BPF_K, 0)}));
  EXPECT_ERRNO(EINVAL, Attach(fd, {BPF_STMT(BPF_LD | BPF_MEM, 3), BPF_STMT(BPF_RET | BPF_A, 0)})) << "not written";
  EXPECT_ERRNO(EINVAL, Attach(fd, {BPF_STMT(0xff, 0), BPF_STMT(BPF_RET | BPF_K, 0)}));
  EXPECT_ERRNO(ENOENT, setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &all, sizeof(all)));
}

TEST(SocketFilterTest, KeepsDropsAndCuts) {
  UnixPair pair;
  ASSERT_OK(Attach(pair.fd[1], kNone));
  EXPECT_EQ(send(pair.fd[0], "lost", 4, 0), 4);
  EXPECT_EQ(Receive(pair.fd[1]), "EAGAIN");
  ASSERT_OK(Attach(pair.fd[1], {BPF_STMT(BPF_RET | BPF_K, 2)}));
  EXPECT_EQ(send(pair.fd[0], "cut short", 9, 0), 9);
  EXPECT_EQ(Receive(pair.fd[1]), "cu");
  // Those that begin with 'a', and their length in X.
  ASSERT_OK(Attach(
      pair.fd[1], {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'a', 0, 2),
                   BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_STMT(BPF_RET | BPF_A, 0), BPF_STMT(BPF_RET | BPF_K, 0)}));
  EXPECT_EQ(send(pair.fd[0], "b1", 2, 0), 2);
  EXPECT_EQ(send(pair.fd[0], "a2", 2, 0), 2);
  EXPECT_EQ(send(pair.fd[0], "", 0, 0), 0) << "a load outside drops";
  EXPECT_EQ(Receive(pair.fd[1]), "a2");
  EXPECT_EQ(Receive(pair.fd[1]), "EAGAIN");
  int unused = 0;
  EXPECT_OK(setsockopt(pair.fd[1], SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)));
  EXPECT_EQ(send(pair.fd[0], "b3", 2, 0), 2);
  EXPECT_EQ(Receive(pair.fd[1]), "b3");
}

TEST(SocketFilterTest, Arithmetic) {
  UnixPair pair;
  // Network order; shifts, division and scratch memory.
  ASSERT_OK(Attach(pair.fd[1], {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 24),
                                BPF_STMT(BPF_ST, 1), BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 1),
                                BPF_STMT(BPF_LD | BPF_MEM, 1), BPF_STMT(BPF_ALU | BPF_SUB | BPF_X, 0),
                                BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 16), BPF_STMT(BPF_RET | BPF_A, 0)}));
  const char bytes[] = {50, 0x42, 0, 0, 5, 6, 7, 8, 9, 10, 11, 12, 13};
  EXPECT_EQ(send(pair.fd[0], bytes, sizeof(bytes), 0), static_cast<ssize_t>(sizeof(bytes)));
  EXPECT_EQ(Receive(pair.fd[1]).size(), (50u - 8u) % 16u);
}

TEST(SocketFilterTest, ReadBackAndLocked) {
  UnixPair pair;
  const int fd = pair.fd[0];
  const Program program = {BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_STMT(BPF_RET | BPF_A, 0)};
  ASSERT_OK(Attach(fd, program));
  socklen_t count = 0;
  sock_filter back[4] = {};
  EXPECT_OK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, back, &count));
  EXPECT_EQ(count, 2u);
  count = 1;
  EXPECT_ERRNO(EINVAL, getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, back, &count));
  count = 4;
  EXPECT_OK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, back, &count));
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(back[1].code, BPF_RET | BPF_A);
  const int on = 1, off = 0;
  EXPECT_OK(setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)));
  EXPECT_ERRNO(EPERM, Attach(fd, kAll));
  EXPECT_ERRNO(EPERM, setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof(on)));
  EXPECT_ERRNO(EPERM, setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &off, sizeof(off)));
}

sockaddr_in Loopback(uint16_t port = 0) {
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return name;
}

TEST(SocketFilterTest, UdpSeesItsHeader) {
  ScopedFd to(socket(AF_INET, SOCK_DGRAM, 0)), from(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in name = Loopback();
  ASSERT_OK(bind(to.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)));
  socklen_t size = sizeof(name);
  ASSERT_OK(getsockname(to.get(), reinterpret_cast<sockaddr*>(&name), &size));
  ASSERT_OK(connect(from.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)));
  // The first byte behind the header.
  ASSERT_OK(Attach(to.get(), {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1),
                              BPF_STMT(BPF_RET | BPF_K, 8 + 3), BPF_STMT(BPF_RET | BPF_K, 0)}));
  EXPECT_EQ(send(from.get(), "no", 2, 0), 2);
  EXPECT_EQ(send(from.get(), "yes, cut", 8, 0), 8);
  char buffer[16];
  EXPECT_EQ(recv(to.get(), buffer, sizeof(buffer), 0), 3);
  EXPECT_EQ(Receive(to.get()), "EAGAIN");
}

TEST(AddrFormTest, AMappedPeerMakesItIpv4) {
  ScopedFd fd(socket(AF_INET6, SOCK_DGRAM, 0)), raw(socket(AF_INET, SOCK_DGRAM, 0));
  int v4 = AF_INET;
  const int v6 = AF_INET6;
  const auto convert = [&](int family) {
    return setsockopt(fd.get(), IPPROTO_IPV6, IPV6_ADDRFORM, &family, sizeof(family));
  };
  EXPECT_ERRNO(EINVAL, convert(v6));
  EXPECT_ERRNO(ENOTCONN, convert(v4));
  socklen_t length = sizeof(v4);
  EXPECT_ERRNO(ENOTCONN, getsockopt(fd.get(), IPPROTO_IPV6, IPV6_ADDRFORM, &v4, &length));
  v4 = AF_INET;
  sockaddr_in6 name = {};
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(9);
  name.sin6_addr = in6addr_loopback;
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0) {
    EXPECT_ERRNO(EADDRNOTAVAIL, convert(v4));
  }
  ScopedFd mapped(socket(AF_INET6, SOCK_DGRAM, 0));
  ASSERT_EQ(inet_pton(AF_INET6, "::ffff:127.0.0.1", &name.sin6_addr), 1);
  ASSERT_OK(connect(mapped.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)));
  EXPECT_OK(setsockopt(mapped.get(), IPPROTO_IPV6, IPV6_ADDRFORM, &v4, sizeof(v4)));
  sockaddr_storage peer;
  socklen_t size = sizeof(peer);
  EXPECT_OK(getpeername(mapped.get(), reinterpret_cast<sockaddr*>(&peer), &size));
  EXPECT_EQ(peer.ss_family, AF_INET);
  EXPECT_EQ(size, sizeof(sockaddr_in));
  int domain = 0;
  EXPECT_OK(getsockopt(mapped.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length));
  EXPECT_EQ(domain, AF_INET);
}

}  // namespace
}  // namespace guest
