// Where the host's control groups are mounted (cgroups(7)): version 1 hierarchies, the version 2 one, or both (hybrid,
// where version 2 has the controllers that no version 1 hierarchy has, if any).
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace sandbox::cgroup {

struct Hierarchies {
  // Mount point and own group of the caller by controller ("memory"; "name=systemd"); the same for controllers that are
  // mounted together. Version 2 is "".
  struct Place {
    std::string mount;
    std::string own;  // path of the caller's group below the mount, "" for the root
  };
  std::map<std::string, Place> places;
  bool unified() const { return places.size() == 1 && places.contains(""); }
};

// From /proc/self/mountinfo and /proc/self/cgroup. Empty on a host without control groups.
Hierarchies FindHierarchies();
// The same from the files' text; for tests.
Hierarchies ParseHierarchies(const std::string& mountinfo, const std::string& cgroup);

}  // namespace sandbox::cgroup
