// What a part of us needs of the host kernel: the filter of the process it runs in is put together from such rules.
#pragma once

#include <cstdint>

namespace sandbox {

struct HostRule {
  int nr;           // SYS_*
  const char* why;  // who makes the call, for readers
  // Only when (argument & mask) == value; mask 0: whatever the arguments.
  unsigned argument = 0;
  uint64_t mask = 0;
  uint64_t value = 0;
};

}  // namespace sandbox
