// Orphaned process groups (POSIX; Linux: will_become_orphaned_pgrp).
#pragma once

#include "sentry/kernel/session.h"

namespace sandbox {

// No member has a parent in another group of the same session: nobody is left to continue a stopped member.
bool IsOrphanedProcessGroup(ThreadGroup& group);
// With the tree lock held; `without` is treated as gone.
bool IsOrphanedLocked(const ProcessGroup& group, const ThreadGroup* without);
bool HasStoppedMember(const ProcessGroup& group);

}  // namespace sandbox
