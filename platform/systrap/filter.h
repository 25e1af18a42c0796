// The seccomp program of a stub. It is the only thing between guest code and the host kernel, so it is judged as if
// every instruction in the process were guest code: the instruction pointer only chooses a road, and whatever the
// direct list lets through is harmless from anywhere.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "platform/api/platform.h"

namespace sandbox::platform::systrap {

// The program that sends guest calls down the lanes of `lanes`.
std::vector<sock_filter> BuildStubFilter(const LaneTable& lanes);

}  // namespace sandbox::platform::systrap
