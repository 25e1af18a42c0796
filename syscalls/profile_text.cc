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

std::string ProfileText() {
  std::map<uint64_t, const char*> names;
  for (const Row* row : AllRows()) names[static_cast<uint64_t>(row->nr)] = row->name;
  std::string text =
      StrPrintf("%-20s %-9s %10s %12s %10s %12s\n", "CALL", "LANE", "CALLS", "BUSY MS", "US EACH", "WAITED MS");
  for (const SyscallProfile::Row& row : SyscallProfile::Rows()) {
    const auto name = names.find(row.nr);
    const double busy = static_cast<double>(row.busy_ns);
    text += StrPrintf("%-20s %-9s %10llu %12.3f %10.2f %12.3f\n",
                      name != names.end() ? name->second : std::to_string(row.nr).c_str(), LaneName(row.lane),
                      static_cast<unsigned long long>(row.calls), busy / 1e6,
                      busy / 1e3 / static_cast<double>(row.calls), static_cast<double>(row.slept_ns) / 1e6);
  }
  return text;
}

}  // namespace sandbox::syscalls
