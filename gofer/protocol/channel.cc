#include "gofer/protocol/channel.h"

#include <sys/socket.h>

#include <cstring>

namespace sandbox::gofer {

Result<std::pair<UniqueFd, UniqueFd>> Channel::MakePair() {
  int fds[2];
  TRY(HostResult(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)));
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

Result<void> Channel::Send(std::span<const std::byte> message, BorrowedFd fd) {
  iovec iov{const_cast<std::byte*>(message.data()), message.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  if (fd.valid()) {
    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&msg);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = fd.get();
    std::memcpy(CMSG_DATA(header), &number, sizeof(number));
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket_.get(), &msg, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return LastErrno();
  return {};
}

Result<size_t> Channel::Receive(std::span<std::byte> buffer, UniqueFd* fd) {
  iovec iov{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  if (fd != nullptr) {
    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);
  }
  ssize_t got;
  do {
    got = ::recvmsg(socket_.get(), &msg, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return LastErrno();
  if (fd != nullptr) {
    for (cmsghdr* header = CMSG_FIRSTHDR(&msg); header != nullptr; header = CMSG_NXTHDR(&msg, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      // Alignment leaves room for two: one more than agreed is closed, not leaked.
      const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int number;
        std::memcpy(&number, CMSG_DATA(header) + i * sizeof(number), sizeof(number));
        fd->reset(number);
      }
    }
  }
  if (got == 0) return Err(EPIPE);  // no message is empty
  if (msg.msg_flags & MSG_TRUNC) return Err(EMSGSIZE);
  return static_cast<size_t>(got);
}

Result<void> Channel::TrySend(std::span<const std::byte> message) {
  iovec iov{const_cast<std::byte*>(message.data()), message.size()};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  TRY(HostResult(::sendmsg(socket_.get(), &msg, MSG_NOSIGNAL | MSG_DONTWAIT)));
  return {};
}

Result<size_t> Channel::Poll(std::span<std::byte> buffer) {
  iovec iov{buffer.data(), buffer.size()};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  const ssize_t got = ::recvmsg(socket_.get(), &msg, MSG_DONTWAIT);
  if (got < 0) return LastErrno();
  if (got == 0) return Err(EPIPE);
  if (msg.msg_flags & MSG_TRUNC) return Err(EMSGSIZE);
  return static_cast<size_t>(got);
}

}  // namespace sandbox::gofer
