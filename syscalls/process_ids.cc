// getpid(2), gettid(2), getppid(2), process groups and sessions.
#include <linux/capability.h>

#include "sentry/kernel/child_wait.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<int32_t> SysGetpid(Task& task) { return task.group().pid()->own(); }
SYSCALL_ROW(getpid, Lane::kShort, Support::kFull, SysGetpid, "");

Result<int32_t> SysGettid(Task& task) { return task.pid()->own(); }
SYSCALL_ROW(gettid, Lane::kShort, Support::kFull, SysGettid, "");

Result<int32_t> SysGetppid(Task& task) { return task.ShownPid(task.group().ppid()); }
SYSCALL_ROW(getppid, Lane::kShort, Support::kFull, SysGetppid, "");

Result<TaskRef> Find(Task& task, int32_t pid) {
  if (pid == 0) return task.shared_from_this();
  TaskRef target = pid < 0 ? nullptr : task.Find(pid);
  if (target == nullptr) return Err(ESRCH);
  return target;
}

Result<int32_t> SysGetpgid(Task& task, int32_t pid) { return task.ShownPid(TRY(Find(task, pid))->group().pgid()); }
SYSCALL_ROW(getpgid, Lane::kShort, Support::kFull, SysGetpgid, "");

Result<int32_t> SysGetpgrp(Task& task) { return task.ShownPid(task.group().pgid()); }
SYSCALL_ROW(getpgrp, Lane::kShort, Support::kFull, SysGetpgrp, "");

Result<int32_t> SysGetsid(Task& task, int32_t pid) { return task.ShownPid(TRY(Find(task, pid))->group().sid()); }
SYSCALL_ROW(getsid, Lane::kShort, Support::kFull, SysGetsid, "");

Result<void> SysSetpgid(Task& task, int32_t pid, int32_t pgid) { return ProcessTree::SetProcessGroup(task, pid, pgid); }
SYSCALL_ROW(setpgid, Lane::kShort, Support::kFull, SysSetpgid, "");

Result<int32_t> SysSetsid(Task& task) { return ProcessTree::NewSession(task); }
SYSCALL_ROW(setsid, Lane::kShort, Support::kFull, SysSetsid, "");

Result<void> SysVhangup(Task& task) {
  if (!task.creds().Has(CAP_SYS_TTY_CONFIG)) return Err(EPERM);
  if (const RefPtr<ControllingTerminal> terminal = JobControl::Of(task)) {
    JobControl::HangupSession(task.kernel(), *terminal);
    terminal->Hangup();
  }
  return {};
}
SYSCALL_ROW(vhangup, Lane::kShort, Support::kFull, SysVhangup, "");

}  // namespace
}  // namespace sandbox::syscalls
