// linux/futex.h.
#pragma once

#include <cstdint>

namespace sandbox::abi {

struct FutexWaitv {  // struct futex_waitv
  uint64_t value, addr;
  uint32_t flags, reserved;
};

struct RobustListHead {  // struct robust_list_head
  uint64_t next;
  int64_t futex_offset;
  uint64_t pending;
};

}  // namespace sandbox::abi
