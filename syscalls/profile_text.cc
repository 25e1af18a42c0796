#include "syscalls/profile_text.h"

#include <map>

#include "base/log.h"
#include "sentry/kernel/syscall_profile.h"
#include "syscalls/table.h"

namespace sandbox::syscalls {
namespace {

const char* LaneName(SyscallProfile::Lane lane) {
  switch (lane) {
    case SyscallProfile::Lane::kNotified:
      return "notified";
    case SyscallProfile::Lane::kTrapped:
      return "trapped";
    case SyscallProfile::Lane::kFast:
      return "fast";
  }
  return "";
}

}  // namespace

std::vector<ProfileLine> ProfileLines() {
  std::map<uint64_t, const char*> names;
  for (const Row* row : AllRows()) names[static_cast<uint64_t>(row->nr)] = row->name;
  std::vector<ProfileLine> lines;
  for (const SyscallProfile::Row& row : SyscallProfile::Rows()) {
    const auto name = names.find(row.nr);
    lines.push_back({name != names.end() ? name->second : std::to_string(row.nr), LaneName(row.lane), row.calls,
                     row.busy_ns, row.slept_ns});
  }
  return lines;
}

std::string ProfileText(const std::vector<ProfileLine>& lines) {
  std::string text =
      StrPrintf("%-20s %-9s %10s %12s %10s %12s\n", "CALL", "LANE", "CALLS", "BUSY MS", "US EACH", "WAITED MS");
  for (const ProfileLine& line : lines) {
    const double busy = static_cast<double>(line.busy_ns);
    text += StrPrintf("%-20s %-9s %10llu %12.3f %10.2f %12.3f\n", line.call.c_str(), line.lane.c_str(),
                      static_cast<unsigned long long>(line.calls), busy / 1e6,
                      busy / 1e3 / static_cast<double>(line.calls), static_cast<double>(line.waited_ns) / 1e6);
  }
  return text;
}

}  // namespace sandbox::syscalls
