// The sentry's profile on its way to runsc.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "syscalls/profile_text.h"

namespace sandbox::boot {

// As JSON: an array of [call, lane, calls, busy_ns, waited_ns], most busy time first; as many as fit one message.
std::string ProfileJson();
// What ProfileJson wrote; InvalidArgument for anything else.
absl::StatusOr<std::vector<syscalls::ProfileLine>> ParseProfile(const std::string& text);

}  // namespace sandbox::boot
