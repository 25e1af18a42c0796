// Whom the OOM killer takes: guest processes (stubs), never the sentry or the gofer if it can be helped (proc(5),
// oom_score_adj).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace sandbox {

// For a process about to run: the bundle's adjustment, which the sentry's stubs inherit. It is above the runtime's own,
// which without CAP_SYS_RESOURCE is the lowest the sentry can have.
void SetGuestOomScore(pid_t pid, std::optional<int32_t> bundle);
// Once the zygote that forks all later stubs is made: lowers the sentry or the gofer alone.
void ProtectFromOom(pid_t pid);

}  // namespace sandbox
