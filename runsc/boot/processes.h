// The container's processes as `runsc ps` shows them.
#pragma once

#include <string>

#include "sentry/kernel/kernel.h"

namespace sandbox::boot {

// Those of one container: a JSON array of {pid, ppid, uid, start (seconds since the epoch), cpu_ns, tty (device number,
// 0 = none), name}, by ascending pid, cut off where it would not fit a control message.
std::string ProcessesJson(Kernel& kernel, const Cgroup& container);

}  // namespace sandbox::boot
