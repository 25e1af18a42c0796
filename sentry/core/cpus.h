// The processors guests see: those the host lets the sandbox run on, or fewer where a container is limited to them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sandbox {

class Context;

// Words of a cpu_set_t, by the host's numbers. At least one bit is set, and the last word is not 0.
using CpuSet = std::vector<uint64_t>;

// The sentry's own, which a cpuset of the host limits.
CpuSet SandboxCpus();
// "0-2,5" as cpusets list them; empty for a text that is no such list.
CpuSet ParseCpuList(std::string_view text);
// The first `most` of them.
CpuSet FirstCpus(CpuSet cpus, int most);
int CountOf(const CpuSet& cpus);

// Those the caller may use; whoever knows its limits registers where to ask.
CpuSet CpusOf(const Context& context);
void SetCpuSource(CpuSet (*source)(const Context& context));
// How many they are. What is shown of them is numbered from 0.
int CpuCount(const Context& context);
// "0-3", as /sys/devices/system/cpu/online has it, without the newline.
std::string CpuList(int count);
// "ff", "1,ffffffff": one bit a processor, in groups of 32.
std::string CpuMask(int count);

}  // namespace sandbox
