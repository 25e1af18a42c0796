#include "runsc/boot/profile.h"

#include "nlohmann/json.hpp"

namespace sandbox::boot {
namespace {

// Far more than any guest uses; 40 KiB of text.
constexpr size_t kMaxLines = 512;

}  // namespace

std::string ProfileJson() {
  nlohmann::json lines = nlohmann::json::array();
  for (const syscalls::ProfileLine& line : syscalls::ProfileLines()) {
    if (lines.size() == kMaxLines) break;
    lines.push_back({line.call, line.lane, line.calls, line.busy_ns, line.waited_ns});
  }
  return lines.dump();
}

absl::StatusOr<std::vector<syscalls::ProfileLine>> ParseProfile(const std::string& text) {
  const auto malformed = absl::InvalidArgumentError("malformed profile");
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_array() || json.size() > kMaxLines) return malformed;
  std::vector<syscalls::ProfileLine> lines;
  for (const auto& line : json) {
    if (!line.is_array() || line.size() != 5 || !line[0].is_string() || !line[1].is_string()) return malformed;
    for (size_t i = 2; i < 5; ++i) {
      if (!line[i].is_number_unsigned()) return malformed;
    }
    lines.push_back({line[0].get<std::string>(), line[1].get<std::string>(), line[2].get<uint64_t>(),
                     line[3].get<uint64_t>(), line[4].get<uint64_t>()});
    if (lines.back().calls == 0) return malformed;
  }
  return lines;
}

}  // namespace sandbox::boot
