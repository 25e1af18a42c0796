#include "gofer/protocol/channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/io/pass_fds.h"
#include "gofer/protocol/messages.h"

namespace sandbox::gofer {

Result<std::pair<UniqueFd, UniqueFd>> Channel::MakePair() {
  int fds[2];
  TRY(HostResult(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)));
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

Result<void> Channel::Send(std::span<const std::byte> message, std::span<const BorrowedFd> fds) {
  return SendWithFds(socket_.borrow(), message, fds);
}

Result<size_t> Channel::Receive(std::span<std::byte> buffer, std::span<UniqueFd> fds) {
  iovec iov{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  if (!fds.empty()) {
    msg.msg_control = control;
    msg.msg_controllen = CMSG_SPACE(std::min(fds.size(), kMaxDescriptors) * sizeof(int));
  }
  ssize_t got;
  do {
    got = ::recvmsg(socket_.get(), &msg, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return LastErrno();
  size_t taken = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&msg); header != nullptr; header = CMSG_NXTHDR(&msg, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int number;
      std::memcpy(&number, CMSG_DATA(header) + i * sizeof(number), sizeof(number));
      UniqueFd fd(number);
      // Alignment leaves room for one more than agreed: it is closed, not leaked.
      if (taken < fds.size()) fds[taken++] = std::move(fd);
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
