// What sendmsg(2), recvmsg(2) and their kin read and write, by the layout that the kernel uses (linux/socket.h of the
// kernel; user space has it from the C library, whose pointers the guest's must not become).
#pragma once

#include <cstdint>

namespace sandbox::abi {

// asm-generic/socket.h, linux/socket.h; newer than the C library's headers.
inline constexpr int kSoPassPidfd = 76, kSoPeerPidfd = 77;
inline constexpr int kScmPidfd = 4;

struct UserMsghdr {  // struct user_msghdr
  uint64_t name;
  int32_t name_size;
  uint32_t pad0;
  uint64_t iov;
  uint64_t iov_count;
  uint64_t control;
  uint64_t control_size;
  uint32_t flags;
  uint32_t pad1;
};

struct Mmsghdr {  // struct mmsghdr
  UserMsghdr header;
  uint32_t length;
  uint32_t pad;
};

}  // namespace sandbox::abi
