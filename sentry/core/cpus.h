// The processors guests see: those the sentry may run on.
#pragma once

#include <string>

namespace sandbox {

int CpuCount();
// "0-3", as /sys/devices/system/cpu/online has it, without the newline.
std::string CpuList();
// "ff", "1,ffffffff": one bit a processor, in groups of 32.
std::string CpuMask();

}  // namespace sandbox
