// Messages between two processes: pipes, sockets, event counters.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "bench/guest/harness.h"

namespace sandbox::bench {
namespace {

// Two ends for each side: where it reads and where it writes.
struct Ends {
  int near_in, near_out, far_in, far_out;
};

// Back and forth with a child that echoes `size` bytes.
void PingPong(Run& run, const Ends& ends, size_t size) {
  Child echo([&] {
    std::vector<char> buffer(size);
    while (::read(ends.far_in, buffer.data(), size) == static_cast<ssize_t>(size)) {
      if (::write(ends.far_out, buffer.data(), size) != static_cast<ssize_t>(size)) return;
    }
  });
  std::vector<char> buffer(size, 1);
  run.Loop([&] {
    Must(::write(ends.near_out, buffer.data(), size) == static_cast<ssize_t>(size), "write");
    Must(::read(ends.near_in, buffer.data(), size) == static_cast<ssize_t>(size), "read");
  });
}

// How fast a child can be fed; an iteration is a MiB in blocks of 64 KiB.
void Bandwidth(Run& run, const Ends& ends) {
  constexpr size_t kBlock = 64 << 10, kAll = 1 << 20;
  Child drain([&] {
    std::vector<char> buffer(kBlock);
    while (::read(ends.far_in, buffer.data(), kBlock) > 0) {
    }
  });
  const std::vector<char> buffer(kBlock, 1);
  run.LoopBytes(kAll, [&] {
    for (size_t left = kAll; left > 0;) {
      const ssize_t wrote = ::write(ends.near_out, buffer.data(), std::min(left, kBlock));
      Must(wrote > 0, "write");
      left -= static_cast<size_t>(wrote);
    }
  });
}

Ends Pipes() {
  int there[2], back[2];
  Must(::pipe(there) == 0 && ::pipe(back) == 0, "pipe");
  return {back[0], there[1], there[0], back[1]};
}

Ends UnixPair(int type) {
  int pair[2];
  Must(::socketpair(AF_UNIX, type, 0, pair) == 0, "socketpair");
  return {pair[0], pair[0], pair[1], pair[1]};
}

sockaddr_in Loopback() {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int BoundTo(int type, sockaddr_in& address) {
  const int fd = ::socket(AF_INET, type, 0);
  Must(fd >= 0, "socket");
  address = Loopback();
  Must(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
  socklen_t size = sizeof address;
  Must(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
  return fd;
}

Ends TcpPair() {
  sockaddr_in address;
  const int listener = BoundTo(SOCK_STREAM, address);
  Must(::listen(listener, 1) == 0, "listen");
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  Must(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
  const int server = ::accept(listener, nullptr, nullptr);
  Must(server >= 0, "accept");
  const int on = 1;
  ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::close(listener);
  return {client, client, server, server};
}

Ends UdpPair() {
  sockaddr_in first, second;
  const int one = BoundTo(SOCK_DGRAM, first), two = BoundTo(SOCK_DGRAM, second);
  Must(::connect(one, reinterpret_cast<sockaddr*>(&second), sizeof second) == 0, "connect");
  Must(::connect(two, reinterpret_cast<sockaddr*>(&first), sizeof first) == 0, "connect");
  return {one, one, two, two};
}

}  // namespace

GUEST_BENCHMARK("channels", "pipe_ping_pong") { PingPong(run, Pipes(), 1); }
GUEST_BENCHMARK("channels", "unix_stream_ping_pong") { PingPong(run, UnixPair(SOCK_STREAM), 1); }
GUEST_BENCHMARK("channels", "unix_datagram_ping_pong") { PingPong(run, UnixPair(SOCK_DGRAM), 100); }
GUEST_BENCHMARK("channels", "tcp_ping_pong") { PingPong(run, TcpPair(), 1); }
GUEST_BENCHMARK("channels", "udp_ping_pong") { PingPong(run, UdpPair(), 100); }

GUEST_BENCHMARK("channels", "eventfd_ping_pong") {
  const int there = ::eventfd(0, 0), back = ::eventfd(0, 0);
  Must(there >= 0 && back >= 0, "eventfd");
  PingPong(run, {back, there, there, back}, 8);
}

// Both ends in one thread: what a message costs without anybody waiting.
GUEST_BENCHMARK("channels", "pipe_write_read_self") {
  int pipe[2];
  Must(::pipe(pipe) == 0, "pipe");
  char byte = 1;
  run.Loop([&] {
    Must(::write(pipe[1], &byte, 1) == 1, "write");
    Must(::read(pipe[0], &byte, 1) == 1, "read");
  });
}

GUEST_BENCHMARK("channels", "pipe_bandwidth") { Bandwidth(run, Pipes()); }
GUEST_BENCHMARK("channels", "unix_stream_bandwidth") { Bandwidth(run, UnixPair(SOCK_STREAM)); }
GUEST_BENCHMARK("channels", "tcp_bandwidth") { Bandwidth(run, TcpPair()); }

}  // namespace sandbox::bench
