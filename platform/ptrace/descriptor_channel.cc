#include "platform/ptrace/descriptor_channel.h"

#include <sys/socket.h>

#include <cstring>

#include "base/check.h"

namespace sandbox::platform::ptrace {

Result<void> DescriptorChannel::Send(std::span<const BorrowedFd> fds) {
  CHECK(!fds.empty() && fds.size() <= kMaxDescriptors);
  char byte = 0;
  iovec iov = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  for (size_t i = 0; i < fds.size(); ++i) {
    const int fd = fds[i].get();
    std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(int));
  }
  if (sendmsg(send_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) return LastErrno();
  return {};
}

void DescriptorChannel::TakeBack() {
  char byte;
  iovec iov = {&byte, 1};
  for (;;) {
    // No control buffer: the descriptors are closed instead of installed.
    msghdr message = {};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    if (recvmsg(receive_.get(), &message, MSG_DONTWAIT) < 0) return;
  }
}

}  // namespace sandbox::platform::ptrace
