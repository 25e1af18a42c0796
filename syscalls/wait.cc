// wait4(2), waitid(2).
#include <sys/wait.h>

#include <climits>

#include "sentry/kernel/child_wait.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"
#include "syscalls/usage.h"

namespace sandbox::syscalls {
namespace {

Result<int32_t> SysWait4(Task& task, int32_t pid, OutPtr<int32_t> status, int options, OutPtr<rusage> usage) {
  if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL)) return Err(EINVAL);
  if (pid == INT_MIN) return Err(ESRCH);
  WaitSelector selector;
  selector.options = options | WEXITED;
  if (pid > 0) {
    selector.kind = WaitSelector::kPid;
    selector.id = task.ActualPid(pid);
  } else if (pid != -1) {
    selector.kind = WaitSelector::kProcessGroup;
    selector.id = pid == 0 ? task.group().pgid() : task.ActualPid(-pid);
  }
  const WaitResult result = TRY(WaitForChild(task, selector));
  if (result.pid == 0) return 0;
  if (!status.IsNull()) TRY(status.Write(task.memory(), result.status));
  if (!usage.IsNull()) TRY(usage.Write(task.memory(), ToRusage(result.usage)));
  return result.pid;
}
SYSCALL_ROW(wait4, Lane::kMayBlock, Support::kFull, SysWait4, "");

Result<WaitSelector> SelectorOf(Task& task, int type, int32_t id, int* options) {
  WaitSelector selector;
  switch (type) {
    case P_ALL:
      return selector;
    case P_PID:
      if (id <= 0) return Err(EINVAL);
      id = task.ActualPid(id);
      selector.kind = WaitSelector::kPid;
      break;
    case P_PGID:
      if (id < 0) return Err(EINVAL);
      selector.kind = WaitSelector::kProcessGroup;
      id = id == 0 ? task.group().pgid() : task.ActualPid(id);
      break;
    case P_PIDFD: {
      if (id < 0) return Err(EINVAL);
      const FileRef file = TRY(task.fds().Get(Fd(id)));
      id = TRY(GroupOfPidFd(task, Fd(id)))->tgid();
      selector.kind = WaitSelector::kPid;
      if (file->nonblocking()) *options |= WNOHANG;
      break;
    }
    default:
      return Err(EINVAL);
  }
  selector.id = id;
  return selector;
}

Result<void> SysWaitid(Task& task, int type, int32_t id, OutPtr<SignalInfo> info, int options, OutPtr<rusage> usage) {
  constexpr int kKnown = WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL;
  if ((options & ~kKnown) || !(options & (WEXITED | WSTOPPED | WCONTINUED))) return Err(EINVAL);
  const bool asked_nohang = options & WNOHANG;
  WaitSelector selector = TRY(SelectorOf(task, type, id, &options));
  selector.options = options;
  const WaitResult result = TRY(WaitForChild(task, selector));
  // A nonblocking pidfd, unlike WNOHANG, says so.
  if (result.pid == 0 && !asked_nohang) return Err(EAGAIN);
  if (!usage.IsNull() && result.pid != 0) TRY(usage.Write(task.memory(), ToRusage(result.usage)));
  if (info.IsNull()) return {};
  SignalInfo out;
  if (result.pid != 0) {
    out.signo = SIGCHLD;
    out.code = result.code;
    out.child.pid = result.pid;
    out.child.uid = task.creds().ShownUid(result.uid);
    out.child.status = result.code_status;
  }
  return info.Write(task.memory(), out);
}
SYSCALL_ROW(waitid, Lane::kMayBlock, Support::kFull, SysWaitid, "");

}  // namespace
}  // namespace sandbox::syscalls
