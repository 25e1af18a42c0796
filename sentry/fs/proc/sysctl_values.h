// Settings of /proc/sys that describe a kernel without this sandbox's limits: Linux's defaults, because programs size
// themselves by them. They can be read only.
#pragma once

#include <span>

namespace sandbox::proc {

struct SysctlValue {
  const char* path;  // below /proc/sys
  const char* text;
};
std::span<const SysctlValue> SysctlValues();

}  // namespace sandbox::proc
