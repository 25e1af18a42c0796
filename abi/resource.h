// linux/resource.h.
#pragma once

#include <cstdint>

namespace sandbox::abi {

struct Rlimit64 {  // struct rlimit64; struct rlimit is the same on 64-bit
  uint64_t soft, hard;
};

}  // namespace sandbox::abi
