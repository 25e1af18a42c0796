#include "base/io/pass_fds.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace sandbox {

Result<void> SendWithFds(BorrowedFd socket, std::span<const std::byte> bytes, std::span<const BorrowedFd> fds,
                         int flags) {
  CHECK(fds.size() <= kMaxPassedFds);
  iovec part = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPassedFds * sizeof(int))];
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    std::memset(control, 0, message.msg_controllen);
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    for (size_t i = 0; i < fds.size(); ++i) {
      const int fd = fds[i].get();
      std::memcpy(CMSG_DATA(rights) + i * sizeof(fd), &fd, sizeof(fd));
    }
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket.get(), &message, flags | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return LastErrno();
  if (static_cast<size_t>(sent) != bytes.size()) return Err(EMSGSIZE);
  return {};
}

}  // namespace sandbox
