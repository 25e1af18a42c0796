// getpriority(2), setpriority(2), ioprio_get(2), ioprio_set(2): kept and reported, see sched.cc.
#include <linux/capability.h>
#include <sys/resource.h>

#include <algorithm>
#include <functional>

#include "abi/sched.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

enum class Which { kProcess, kGroup, kUser };

// The tasks named by (which, who), 0 = the caller's own. ESRCH when there are none.
Result<std::vector<TaskRef>> Select(Task& task, Which which, int32_t who) {
  std::vector<TaskRef> found;
  if (which == Which::kProcess) {
    TaskRef target = who == 0 ? task.shared_from_this() : task.Find(who);
    if (target != nullptr) found.push_back(std::move(target));
  } else {
    const int32_t pgid = who == 0 ? task.group().pgid() : task.ActualPid(who);
    const uint32_t uid = who == 0 ? task.creds().uid : static_cast<uint32_t>(who);
    for (const ThreadGroupRef& group : task.kernel().Groups()) {
      if (which == Which::kGroup && group->pgid() != pgid) continue;
      for (const TaskRef& member : group->tasks()) {
        if (which == Which::kUser && member->creds_ref()->uid != uid) continue;
        found.push_back(member);
      }
    }
  }
  if (found.empty()) return Err(ESRCH);
  return found;
}

Result<Which> ToWhich(int32_t value, int32_t first) {
  const int32_t index = value - first;
  if (index < 0 || index > 2) return Err(EINVAL);
  return static_cast<Which>(index);
}

// The raw call returns 20 - nice, so that no valid answer is negative (getpriority(2), C library/kernel differences).
Result<int32_t> SysGetpriority(Task& task, int32_t which, int32_t who) {
  int lowest = 20;
  for (const TaskRef& target : TRY(Select(task, TRY(ToWhich(which, PRIO_PROCESS)), who))) {
    lowest = std::min(lowest, target->nice.load());
  }
  return 20 - lowest;
}
SYSCALL_ROW(getpriority, Lane::kShort, Support::kFull, SysGetpriority, "");

Result<void> SetNice(Task& task, Task& target, int nice) {
  const CredentialsRef theirs = target.creds_ref();
  const bool privileged = task.creds().Has(CAP_SYS_NICE);
  if (!privileged && task.creds().euid != theirs->uid && task.creds().euid != theirs->euid) return Err(EPERM);
  const uint64_t limit = target.rlimit(RLIMIT_NICE);
  if (!privileged && nice < target.nice.load() && static_cast<uint64_t>(20 - nice) > limit) return Err(EACCES);
  target.nice = nice;
  return {};
}

Result<void> SysSetpriority(Task& task, int32_t which, int32_t who, int32_t nice) {
  const Which kind = TRY(ToWhich(which, PRIO_PROCESS));
  nice = std::clamp(nice, -20, 19);
  Result<void> result;
  for (const TaskRef& target : TRY(Select(task, kind, who))) {
    if (auto one = SetNice(task, *target, nice); !one.ok()) result = one;
  }
  return result;
}
SYSCALL_ROW(setpriority, Lane::kShort, Support::kPartial, SysSetpriority, "stored and reported; the host schedules");

Result<int32_t> SysIoprioGet(Task& task, int32_t which, int32_t who) {
  const auto targets = TRY(Select(task, TRY(ToWhich(which, abi::kIoprioWhoProcess)), who));
  int best = 0;
  for (const TaskRef& target : targets) {
    const int mine = target->ioprio.load();
    if (best == 0 || (mine != 0 && mine < best)) best = mine;
  }
  return best;
}
SYSCALL_ROW(ioprio_get, Lane::kShort, Support::kFull, SysIoprioGet, "");

Result<void> SysIoprioSet(Task& task, int32_t which, int32_t who, int32_t ioprio) {
  const int cls = abi::IoprioClass(ioprio);
  const int level = abi::IoprioLevel(ioprio) & 7;  // the bits above are hints
  if (cls > abi::kIoprioClassIdle || (cls == abi::kIoprioClassNone && level != 0)) return Err(EINVAL);
  if (cls == abi::kIoprioClassRt && !task.creds().Has(CAP_SYS_NICE) && !task.creds().Has(CAP_SYS_ADMIN))
    return Err(EPERM);
  for (const TaskRef& target : TRY(Select(task, TRY(ToWhich(which, abi::kIoprioWhoProcess)), who))) {
    const CredentialsRef theirs = target->creds_ref();
    if (theirs->uid != task.creds().euid && theirs->uid != task.creds().uid && !task.creds().Has(CAP_SYS_NICE))
      return Err(EPERM);
    target->ioprio = ioprio;
  }
  return {};
}
SYSCALL_ROW(ioprio_set, Lane::kShort, Support::kPartial, SysIoprioSet, "stored and reported; the host schedules");

}  // namespace
}  // namespace sandbox::syscalls
