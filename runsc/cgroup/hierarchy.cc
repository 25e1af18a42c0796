#include "runsc/cgroup/hierarchy.h"

#include <vector>

#include "absl/strings/str_split.h"
#include "runsc/cgroup/files.h"

namespace sandbox::cgroup {
namespace {

std::string Text(absl::string_view view) { return std::string(view); }

// "own" of /proc/self/cgroup is seen from the root of the cgroup namespace, as the mount's root is.
std::string Below(const std::string& path, const std::string& root) {
  if (root != "/" && path.rfind(root, 0) == 0) return path.substr(root.size());
  return path == "/" ? "" : path;
}

struct CgroupMount {
  std::string root, point;
  std::vector<std::string> options;
  bool v2;
};

std::vector<CgroupMount> ParseMounts(const std::string& mountinfo) {
  std::vector<CgroupMount> mounts;
  for (const auto line : absl::StrSplit(mountinfo, '\n')) {
    // id parent major:minor root point options… - type source super-options (proc_pid_mountinfo(5))
    const std::vector<std::string> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    const std::vector<std::string> left = absl::StrSplit(halves[0], ' ');
    const std::vector<std::string> right = absl::StrSplit(halves[1], ' ');
    if (left.size() < 6 || right.size() < 3 || (right[0] != "cgroup" && right[0] != "cgroup2")) continue;
    mounts.push_back({left[3], left[4], absl::StrSplit(right[2], ','), right[0] == "cgroup2"});
  }
  return mounts;
}

}  // namespace

Hierarchies ParseHierarchies(const std::string& mountinfo, const std::string& cgroup) {
  const std::vector<CgroupMount> mounts = ParseMounts(mountinfo);
  Hierarchies found;
  for (const auto line : absl::StrSplit(cgroup, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    for (const auto controller : absl::StrSplit(parts[1], ',')) {
      const std::string name = Text(controller);
      for (const CgroupMount& mount : mounts) {
        const bool matches = name.empty() ? mount.v2
                                          : !mount.v2 && std::find(mount.options.begin(), mount.options.end(), name) !=
                                                             mount.options.end();
        // The first one, as a host may have bound it to other places too.
        if (matches) found.places.try_emplace(name, Hierarchies::Place{mount.point, Below(parts[2], mount.root)});
      }
    }
  }
  return found;
}

Hierarchies FindHierarchies() {
  const auto mountinfo = ReadFile("/proc/self/mountinfo");
  const auto cgroup = ReadFile("/proc/self/cgroup");
  if (!mountinfo.ok() || !cgroup.ok()) return {};
  return ParseHierarchies(*mountinfo, *cgroup);
}

}  // namespace sandbox::cgroup
