// Resource limits: getrlimit(2), setrlimit(2), prlimit(2).
#include <linux/capability.h>
#include <sys/resource.h>

#include "abi/resource.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr uint64_t kFileMax = 1 << 20;  // /proc/sys/fs/nr_open

Result<void> Change(Task& task, ThreadGroup& group, int resource, const abi::Rlimit64& limit) {
  if (limit.soft > limit.hard) return Err(EINVAL);
  if (resource == RLIMIT_NOFILE && limit.hard > kFileMax) return Err(EPERM);
  if (limit.hard > group.limits().Get(resource).hard && !task.creds().Has(CAP_SYS_RESOURCE)) return Err(EPERM);
  group.limits().Set(resource, Limit{limit.soft, limit.hard});
  if (resource == RLIMIT_CPU) group.timers().FollowCpuLimit();
  if (resource == RLIMIT_STACK && &group == &task.group()) {
    task.mm().LimitStack(task.thread(), GuestAddr(task.thread().regs().sp()), limit.soft);
  }
  return {};
}

// prlimit(2), PERMISSIONS: all of the target's real, effective and saved ids are the caller's real ones, or
// CAP_SYS_RESOURCE.
bool MayAccess(Task& task, Task& target) {
  const Credentials& mine = task.creds();
  const CredentialsRef theirs = target.creds_ref();
  const bool same = mine.uid == theirs->uid && mine.uid == theirs->euid && mine.uid == theirs->suid &&
                    mine.gid == theirs->gid && mine.gid == theirs->egid && mine.gid == theirs->sgid;
  return same || mine.HasIn(*theirs->user_ns, CAP_SYS_RESOURCE);
}

Result<void> SysPrlimit64(Task& task, int32_t pid, uint32_t resource, InPtr<abi::Rlimit64> new_limit,
                          OutPtr<abi::Rlimit64> old_limit) {
  std::optional<abi::Rlimit64> wanted;
  if (!new_limit.IsNull()) wanted = TRY(new_limit.Read(task.memory()));
  TaskRef target = task.shared_from_this();
  if (pid != 0 && pid != task.pid()->own()) {
    target = task.Find(pid);
    if (target == nullptr) return Err(ESRCH);
    if (!MayAccess(task, *target)) return Err(EPERM);
  }
  if (resource >= static_cast<uint32_t>(kLimitCount)) return Err(EINVAL);
  const Limit old = target->group().limits().Get(static_cast<int>(resource));
  if (wanted) TRY(Change(task, target->group(), static_cast<int>(resource), *wanted));
  if (!old_limit.IsNull()) TRY(old_limit.Write(task.memory(), abi::Rlimit64{old.soft, old.hard}));
  return {};
}
SYSCALL_ROW(prlimit64, Lane::kFull, Support::kFull, SysPrlimit64, "");

Result<void> SysGetrlimit(Task& task, uint32_t resource, OutPtr<abi::Rlimit64> out) {
  if (resource >= static_cast<uint32_t>(kLimitCount)) return Err(EINVAL);
  const Limit limit = task.group().limits().Get(static_cast<int>(resource));
  return out.Write(task.memory(), abi::Rlimit64{limit.soft, limit.hard});
}
SYSCALL_ROW(getrlimit, Lane::kShort, Support::kFull, SysGetrlimit, "");

Result<void> SysSetrlimit(Task& task, uint32_t resource, InPtr<abi::Rlimit64> in) {
  const abi::Rlimit64 limit = TRY(in.Read(task.memory()));
  if (resource >= static_cast<uint32_t>(kLimitCount)) return Err(EINVAL);
  return Change(task, task.group(), static_cast<int>(resource), limit);
}
SYSCALL_ROW(setrlimit, Lane::kFull, Support::kFull, SysSetrlimit, "");

}  // namespace
}  // namespace sandbox::syscalls
