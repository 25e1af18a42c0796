// The sentry's profile for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sandbox::syscalls {

struct ProfileLine {
  std::string call, lane;
  uint64_t calls = 0, busy_ns = 0, waited_ns = 0;
};

// SyscallProfile::Rows by name, most busy time first.
std::vector<ProfileLine> ProfileLines();
// As a table: name, lane, calls, busy and waited time.
std::string ProfileText(const std::vector<ProfileLine>& lines);

}  // namespace sandbox::syscalls
