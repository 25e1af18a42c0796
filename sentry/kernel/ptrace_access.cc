#include "sentry/kernel/ptrace_access.h"

#include <linux/capability.h>

#include "sentry/kernel/task.h"

namespace sandbox {

Result<void> MayInspect(Context& context, Task& target, bool real_ids) {
  Task* caller = Task::Of(context);
  if (caller == nullptr || &caller->group() == &target.group()) return {};
  const CredentialsRef mine = caller->creds_ref();
  const CredentialsRef theirs = target.creds_ref();
  if (theirs == nullptr) return Err(EPERM);
  if (mine->HasIn(*theirs->user_ns, CAP_SYS_PTRACE)) return {};
  const uint32_t uid = real_ids ? mine->uid : mine->fsuid;
  const uint32_t gid = real_ids ? mine->gid : mine->fsgid;
  const bool same_user = uid == theirs->uid && uid == theirs->euid && uid == theirs->suid;
  const bool same_group = gid == theirs->gid && gid == theirs->egid && gid == theirs->sgid;
  if (!same_user || !same_group) return Err(EPERM);
  const auto mm = target.mm_ref();
  if (mm != nullptr && !mm->dumpable()) return Err(EPERM);
  // Security modules' part that Linux always has: no looking into somebody with more capabilities.
  if (theirs->user_ns != mine->user_ns || (theirs->permitted & ~mine->permitted)) return Err(EPERM);
  return {};
}

}  // namespace sandbox
