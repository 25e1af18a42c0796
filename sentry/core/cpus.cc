#include "sentry/core/cpus.h"

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace sandbox {

int CpuCount() {
  static const int count = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    return ::sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
  }();
  return count;
}

std::string CpuList() { return CpuCount() == 1 ? "0" : "0-" + std::to_string(CpuCount() - 1); }

std::string CpuMask() {
  std::string mask;
  for (int group = (CpuCount() - 1) / 32; group >= 0; --group) {
    const int bits = std::min(CpuCount() - group * 32, 32);
    const uint64_t word = (uint64_t{1} << bits) - 1;
    char text[16];
    std::snprintf(text, sizeof(text), mask.empty() ? "%lx" : ",%08lx", word);
    mask += text;
  }
  return mask;
}

}  // namespace sandbox
