// Whether one task may look into another (ptrace(2), "Ptrace access mode checking"; Linux: __ptrace_may_access).
#pragma once

#include "base/result.h"
#include "sentry/core/context.h"

namespace sandbox {

class Task;

// PTRACE_MODE_READ_FSCREDS or, with `real_ids`, PTRACE_MODE_ATTACH_REALCREDS. EPERM. The kernel itself may always.
Result<void> MayInspect(Context& context, Task& target, bool real_ids = false);

}  // namespace sandbox
