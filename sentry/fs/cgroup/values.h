// What the files of a control group say (cgroups(7); Documentation/admin-guide/cgroup-v1, cgroup-v2.rst), whichever
// version the host has: values that only the host knows are translated from its files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sentry/kernel/cgroup.h"

namespace sandbox::cgroupfs {

struct ValueFile {
  const char* name;
  std::string (*text)(const Cgroup& group);
};

std::span<const ValueFile> UnifiedFiles();
// Of every group of version 1.
std::span<const ValueFile> HierarchyFiles();
// Of one controller of version 1; empty for a name that is none.
std::span<const ValueFile> ControllerFiles(std::string_view controller);

}  // namespace sandbox::cgroupfs
