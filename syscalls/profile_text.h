// The sentry's profile for people.
#pragma once

#include <string>

namespace sandbox::syscalls {

// SyscallProfile::Rows as a table: name, lane, calls, busy and slept time.
std::string ProfileText();

}  // namespace sandbox::syscalls
