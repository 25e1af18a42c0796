// Scheduling attributes (sched(7)). The host schedules guest threads: affinity is handed on to it where it lets us,
// policies, priorities and niceness are only kept and reported.
#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>

#include "abi/sched.h"
#include "sentry/core/cpus.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr char kStored[] = "stored and reported; the host schedules";

Result<TaskRef> Target(Task& task, int32_t pid) {
  if (pid < 0) return Err(EINVAL);
  if (pid == 0) return task.shared_from_this();
  TaskRef target = task.Find(pid);
  if (target == nullptr) return Err(ESRCH);
  return target;
}

bool Owns(Task& task, Task& target) {
  const CredentialsRef theirs = target.creds_ref();
  return task.creds().euid == theirs->euid || task.creds().euid == theirs->uid ||
         task.creds().HasIn(*theirs->user_ns, CAP_SYS_NICE);
}

bool IsRealtime(int policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }
bool IsNormal(int policy) { return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE; }

// Linux: is_nice_reduction.
bool NiceWithinLimit(Task& target, int nice) { return static_cast<uint64_t>(20 - nice) <= target.rlimit(RLIMIT_NICE); }

// The rules of sched_setscheduler(2) that sched_setattr shares.
Result<void> SetScheduler(Task& task, Task& target, int policy, int priority, bool reset_on_fork) {
  if (!IsRealtime(policy) && !IsNormal(policy)) return Err(EINVAL);
  if (IsRealtime(policy) ? priority < 1 || priority > 99 : priority != 0) return Err(EINVAL);
  if (!Owns(task, target)) return Err(EPERM);
  if (!task.creds().Has(CAP_SYS_NICE)) {
    const auto limit = static_cast<int64_t>(target.rlimit(RLIMIT_RTPRIO));
    if (IsRealtime(policy) && limit == 0 && policy != target.sched_policy.load()) return Err(EPERM);
    if (IsRealtime(policy) && priority > target.sched_priority.load() &&
        static_cast<uint64_t>(priority) > static_cast<uint64_t>(limit))
      return Err(EPERM);
    // Who may not raise its niceness to what it is already does not come back from idle.
    const bool leaves_idle = target.sched_policy.load() == SCHED_IDLE && policy != SCHED_IDLE;
    if (leaves_idle && !NiceWithinLimit(target, target.nice.load())) return Err(EPERM);
    if (target.sched_reset_on_fork.load() && !reset_on_fork) return Err(EPERM);
  }
  target.sched_policy = policy;
  target.sched_priority = priority;
  target.sched_reset_on_fork = reset_on_fork;
  return {};
}

Result<void> SysSchedSetscheduler(Task& task, int32_t pid, int32_t policy, InPtr<int32_t> param) {
  if (param.IsNull() || policy < 0) return Err(EINVAL);
  if (pid < 0) return Err(EINVAL);
  const int32_t priority = TRY(param.Read(task.memory()));
  const TaskRef target = TRY(Target(task, pid));
  return SetScheduler(task, *target, policy & ~abi::kSchedResetOnFork, priority, policy & abi::kSchedResetOnFork);
}
SYSCALL_ROW(sched_setscheduler, Lane::kShort, Support::kPartial, SysSchedSetscheduler, kStored);

Result<int32_t> SysSchedGetscheduler(Task& task, int32_t pid) {
  const TaskRef target = TRY(Target(task, pid));
  return target->sched_policy.load() | (target->sched_reset_on_fork.load() ? abi::kSchedResetOnFork : 0);
}
SYSCALL_ROW(sched_getscheduler, Lane::kShort, Support::kFull, SysSchedGetscheduler, "");

Result<void> SysSchedSetparam(Task& task, int32_t pid, InPtr<int32_t> param) {
  if (param.IsNull()) return Err(EINVAL);
  if (pid < 0) return Err(EINVAL);
  const int32_t priority = TRY(param.Read(task.memory()));
  const TaskRef target = TRY(Target(task, pid));
  return SetScheduler(task, *target, target->sched_policy.load(), priority, target->sched_reset_on_fork.load());
}
SYSCALL_ROW(sched_setparam, Lane::kShort, Support::kPartial, SysSchedSetparam, kStored);

Result<void> SysSchedGetparam(Task& task, int32_t pid, OutPtr<int32_t> param) {
  if (param.IsNull()) return Err(EINVAL);
  const TaskRef target = TRY(Target(task, pid));
  return param.Write(task.memory(), target->sched_priority.load());
}
SYSCALL_ROW(sched_getparam, Lane::kShort, Support::kFull, SysSchedGetparam, "");

constexpr int kSchedExt = 7;  // SCHED_EXT: known by name, but there is no such class here

Result<int32_t> SysSchedGetPriorityMax(Task&, int32_t policy) {
  if (IsRealtime(policy)) return 99;
  if (IsNormal(policy) || policy == SCHED_DEADLINE || policy == kSchedExt) return 0;
  return Err(EINVAL);
}
SYSCALL_ROW(sched_get_priority_max, Lane::kShort, Support::kFull, SysSchedGetPriorityMax, "");

Result<int32_t> SysSchedGetPriorityMin(Task&, int32_t policy) {
  if (IsRealtime(policy)) return 1;
  if (IsNormal(policy) || policy == SCHED_DEADLINE || policy == kSchedExt) return 0;
  return Err(EINVAL);
}
SYSCALL_ROW(sched_get_priority_min, Lane::kShort, Support::kFull, SysSchedGetPriorityMin, "");

Result<void> SysSchedRrGetInterval(Task& task, int32_t pid, OutPtr<timespec> out) {
  const TaskRef target = TRY(Target(task, pid));
  // Linux's default slices; a first-in-first-out task has none.
  const int policy = target->sched_policy.load();
  const long slice_ns = policy == SCHED_RR ? 100'000'000 : IsNormal(policy) ? 4'000'000 : 0;
  return out.Write(task.memory(), {0, slice_ns});
}
SYSCALL_ROW(sched_rr_get_interval, Lane::kShort, Support::kFull, SysSchedRrGetInterval, "");

// sched_setattr(2): runtime <= deadline <= period, none absurd.
Result<void> SetDeadline(Task& task, Task& target, const abi::SchedAttr& attr) {
  constexpr uint64_t kLeastRuntimeNs = 1024, kTopBit = uint64_t{1} << 63;
  if (attr.priority != 0 || attr.runtime < kLeastRuntimeNs || attr.deadline == 0) return Err(EINVAL);
  if ((attr.deadline | attr.period) & kTopBit) return Err(EINVAL);
  const uint64_t period = attr.period != 0 ? attr.period : attr.deadline;
  if (attr.runtime > attr.deadline || attr.deadline > period) return Err(EINVAL);
  if (!task.creds().Has(CAP_SYS_NICE)) return Err(EPERM);
  target.sched_policy = SCHED_DEADLINE;
  target.sched_priority = 0;
  target.sched_reset_on_fork = attr.flags & abi::kSchedFlagResetOnFork;
  target.deadline_runtime_ns = attr.runtime;
  target.deadline_ns = attr.deadline;
  target.deadline_period_ns = period;
  return {};
}

Result<void> SysSchedSetattr(Task& task, int32_t pid, GuestAddr attr_addr, uint32_t flags) {
  if (attr_addr.IsNull() || pid < 0 || flags != 0) return Err(EINVAL);
  abi::SchedAttr attr = {};
  uint32_t size = TRY(InPtr<uint32_t>(attr_addr).Read(task.memory()));
  if (size == 0) size = abi::kSchedAttrSizeVer0;
  const auto too_big = [&]() -> Result<void> {
    TRY(OutPtr<uint32_t>(attr_addr).Write(task.memory(), static_cast<uint32_t>(sizeof(attr))));
    return Err(E2BIG);
  };
  if (size < abi::kSchedAttrSizeVer0 || size > kPageSize) return too_big();
  // A newer, larger structure is fine as long as what we do not know is zero.
  std::vector<uint8_t> bytes(size);
  TRY(task.memory().Read(attr_addr, bytes.data(), size));
  for (size_t i = sizeof(attr); i < bytes.size(); ++i) {
    if (bytes[i] != 0) return too_big();
  }
  std::memcpy(&attr, bytes.data(), std::min(sizeof(attr), bytes.size()));
  const TaskRef target = TRY(Target(task, pid));
  if (attr.flags & ~abi::kSchedFlagAll) return Err(EINVAL);
  if (attr.policy == SCHED_DEADLINE) return SetDeadline(task, *target, attr);
  const bool normal = IsNormal(static_cast<int>(attr.policy));
  const int nice = std::clamp(attr.nice, -20, 19);
  if (normal && nice < target->nice.load() && !NiceWithinLimit(*target, nice) && !task.creds().Has(CAP_SYS_NICE)) {
    return Err(EPERM);
  }
  TRY(SetScheduler(task, *target, static_cast<int>(attr.policy), static_cast<int>(attr.priority),
                   attr.flags & abi::kSchedFlagResetOnFork));
  if (normal) target->nice = nice;
  return {};
}
SYSCALL_ROW(sched_setattr, Lane::kShort, Support::kPartial, SysSchedSetattr, kStored);

Result<void> SysSchedGetattr(Task& task, int32_t pid, GuestAddr out, uint32_t size, uint32_t flags) {
  if (out.IsNull() || pid < 0 || size > kPageSize || size < abi::kSchedAttrSizeVer0 || flags != 0) return Err(EINVAL);
  const TaskRef target = TRY(Target(task, pid));
  abi::SchedAttr attr = {};
  attr.size = std::min<uint32_t>(size, sizeof(attr));
  attr.policy = target->sched_policy.load();
  attr.priority = target->sched_priority.load();
  attr.nice = IsNormal(target->sched_policy.load()) ? target->nice.load() : 0;
  if (target->sched_policy.load() == SCHED_DEADLINE) {
    attr.runtime = target->deadline_runtime_ns.load();
    attr.deadline = target->deadline_ns.load();
    attr.period = target->deadline_period_ns.load();
  }
  if (target->sched_reset_on_fork.load()) attr.flags |= abi::kSchedFlagResetOnFork;
  return task.memory().Write(out, &attr, attr.size);
}
SYSCALL_ROW(sched_getattr, Lane::kShort, Support::kFull, SysSchedGetattr, "");

// The affinity calls look a negative pid up like any other.
Result<TaskRef> AffinityTarget(Task& task, int32_t pid) {
  if (pid < 0) return Err(ESRCH);
  return Target(task, pid);
}

Result<int32_t> SysSchedGetaffinity(Task& task, int32_t pid, uint32_t size, GuestAddr out) {
  if (size % sizeof(uint64_t) != 0 || size < CpusOf(task).size() * sizeof(uint64_t)) return Err(EINVAL);
  const TaskRef target = TRY(AffinityTarget(task, pid));
  const CpuSet mask = target->usable_cpus();
  TRY(task.memory().Write(out, mask.data(), mask.size() * sizeof(uint64_t)));
  return static_cast<int32_t>(mask.size() * sizeof(uint64_t));
}
SYSCALL_ROW(sched_getaffinity, Lane::kShort, Support::kFull, SysSchedGetaffinity, "");

Result<void> SysSchedSetaffinity(Task& task, int32_t pid, uint32_t size, GuestAddr in) {
  CpuSet mask = CpusOf(task);
  CpuSet wanted(mask.size());
  TRY(task.memory().Read(in, wanted.data(), std::min<size_t>(size, wanted.size() * sizeof(uint64_t))));
  const TaskRef target = TRY(AffinityTarget(task, pid));
  if (!Owns(task, *target)) return Err(EPERM);
  bool any = false;
  for (size_t i = 0; i < mask.size(); ++i) any |= (mask[i] &= wanted[i]) != 0;
  if (!any) return Err(EINVAL);
  target->SetCpuAffinity(std::move(mask));
  return {};
}
SYSCALL_ROW(sched_setaffinity, Lane::kShort, Support::kFull, SysSchedSetaffinity, "");

}  // namespace
}  // namespace sandbox::syscalls
