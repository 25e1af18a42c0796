// A proc for a container, whose processes do not exist yet when it is mounted.
#pragma once

#include "base/result.h"
#include "sentry/kernel/pid_namespace.h"
#include "sentry/vfs/inode.h"

namespace sandbox::proc {

// Shows the processes of `view`.
RefPtr<FileSystem> MakeProc(RefPtr<PidNamespace> view);

}  // namespace sandbox::proc
