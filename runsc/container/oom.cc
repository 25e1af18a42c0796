#include "runsc/container/oom.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "runsc/cgroup/files.h"

namespace sandbox {
namespace {

constexpr int kLowest = -999;  // -1000 would hide even a runaway sentry from the OOM killer
constexpr int kAboveSentry = 100;

int Current(const std::string& path) {
  const auto text = cgroup::ReadFile(path);
  return text.ok() ? std::atoi(text->c_str()) : 0;
}

std::string PathOf(pid_t pid) { return "/proc/" + std::to_string(pid) + "/oom_score_adj"; }

// What guests get: the bundle's wish, but above what the sentry can be lowered to.
int GuestAdjustment(int own, std::optional<int32_t> wanted) {
  return std::clamp(std::max<int>(wanted.value_or(own), own + kAboveSentry), -1000, 1000);
}

}  // namespace

void SetGuestOomScore(pid_t pid, std::optional<int32_t> bundle) {
  const int own = Current("/proc/self/oom_score_adj");
  // Lowering asks for CAP_SYS_RESOURCE, raising does not.
  if (bundle && *bundle < own && cgroup::WriteFile(PathOf(pid), std::to_string(*bundle)).ok()) return;
  (void)cgroup::WriteFile(PathOf(pid), std::to_string(GuestAdjustment(own, bundle)));
}

void ProtectFromOom(pid_t pid) {
  if (cgroup::WriteFile(PathOf(pid), std::to_string(kLowest)).ok()) return;
  // Back to where it was forked: the kernel allows that much.
  (void)cgroup::WriteFile(PathOf(pid), std::to_string(Current("/proc/self/oom_score_adj")));
}

}  // namespace sandbox
