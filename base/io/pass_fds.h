// Descriptors sent to another process over a unix socket (unix(7), SCM_RIGHTS).
#pragma once

#include <cstddef>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox {

// Most of them beside one message (Linux: SCM_MAX_FD).
inline constexpr size_t kMaxPassedFds = 253;

// sendmsg(2) of `bytes`, with `fds` beside them, and `flags` besides MSG_NOSIGNAL. Nothing is sent in part: EMSGSIZE.
Result<void> SendWithFds(BorrowedFd socket, std::span<const std::byte> bytes, std::span<const BorrowedFd> fds,
                         int flags = 0);

}  // namespace sandbox
