#include "platform/ptrace/descriptor_channel.h"

#include <sys/socket.h>

#include <cstring>

#include "base/check.h"
#include "base/io/pass_fds.h"

namespace sandbox::platform::ptrace {

Result<void> DescriptorChannel::Send(std::span<const BorrowedFd> fds) {
  CHECK(!fds.empty() && fds.size() <= kMaxDescriptors);
  return SendWithFds(send_.borrow(), std::as_bytes(std::span("", 1)), fds, MSG_DONTWAIT);
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
