// How execve(2) changes who a task is (capabilities(7), Linux: security/commoncap.c cap_bprm_creds_from_file).
#pragma once

#include "base/result.h"
#include "sentry/kernel/task.h"
#include "sentry/loader/loader.h"

namespace sandbox {

// The credentials `task` will have after executing `executable`, with its set-id bits and file capabilities applied
// unless its mount is nosuid or the task has no_new_privs. EPERM for a program that demands capabilities outside the
// bounding set.
Result<LoadArgs::Identity> CredentialsForExec(Task& task, const FileRef& executable);

}  // namespace sandbox
