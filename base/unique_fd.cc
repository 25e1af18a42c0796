#include "base/unique_fd.h"

#include <unistd.h>

namespace sandbox {

void UniqueFd::reset(int fd) {
  // close(2) releases the number even when it reports EINTR or EIO, so there is nothing to retry.
  if (fd_ >= 0) (void)::close(fd_);
  fd_ = fd;
}

}  // namespace sandbox
