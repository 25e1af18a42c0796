// Ancillary data of sendmsg(2) and recvmsg(2) between its guest layout (cmsg(3)) and SocketControl.
#pragma once

#include "sentry/kernel/task.h"
#include "sentry/socket/message.h"

namespace sandbox::syscalls {

// Decodes what the guest sends. EINVAL for malformed items, EBADF for descriptors that are not open, EPERM for
// credentials the caller may not claim, ENOBUFS when longer than the kernel takes.
Result<SocketControl> ReadControl(Task& task, GuestAddr from, uint64_t size);

// Installs descriptors and writes the items that fit into `size` bytes at `to`; returns the bytes written. Sets
// MSG_CTRUNC in *flags when something was left out.
Result<uint64_t> WriteControl(Task& task, GuestAddr to, uint64_t size, const SocketControl& control, bool close_on_exec,
                              int* flags);

}  // namespace sandbox::syscalls
