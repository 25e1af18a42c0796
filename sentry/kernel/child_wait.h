// The process tree's verbs: wait(2) for children, what happens to a family when a member dies (Linux: kernel/exit.c).
#pragma once

#include <cstdint>
#include <optional>

#include "sentry/kernel/session.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/thread_group.h"

namespace sandbox {

// siginfo of a child's state change. Tree lock held.
SignalInfo ChildSignal(const ThreadGroup& child, int signo, int code, int status);

// CLD_EXITED, CLD_KILLED or CLD_DUMPED for a wait status of a death.
int DeathCode(int status);

// Which children a wait is about.
struct WaitSelector {
  enum Kind { kAny, kPid, kProcessGroup } kind = kAny;
  int32_t id = 0;
  int options = 0;  // WNOHANG WUNTRACED/WSTOPPED WEXITED WCONTINUED WNOWAIT __WALL __WCLONE __WNOTHREAD
};

struct WaitResult {
  int32_t pid = 0;  // as the caller numbers it; 0: WNOHANG found nothing
  uint32_t uid = 0;
  int status = 0;       // Linux wait status
  int code = 0;         // CLD_*
  int code_status = 0;  // si_status
  Usage usage;
};

// Waits for a child of `task`'s group; ECHILD when there is none that fits, ERESTARTSYS when interrupted.
Result<WaitResult> WaitForChild(Task& task, const WaitSelector& selector);

// Changes of the tree. Functions named Locked need the kernel's tree lock; the analysis cannot tell whose lock that is
// when all it sees is a group.
class ProcessTree {
 public:
  static const ThreadGroup* ParentOf(const ThreadGroup& group) { return group.parent_; }
  static const ProcessGroup* ProcessGroupOf(const ThreadGroup& group) { return group.process_group_.get(); }
  static uint32_t UidOf(const ThreadGroup& group);  // real uid; 0 once reaped

  // setsid(2), setpgid(2).
  static Result<int32_t> NewSession(Task& task);
  static Result<void> SetProcessGroup(Task& task, int32_t pid, int32_t pgid);

  // The last thread of `group` is gone: hands its children on, becomes a zombie and tells the parent.
  static void GroupExited(ThreadGroup& group);
  // Removes a zombie for good; its usage goes to the parent. Tree lock held.
  static void ReapLocked(ThreadGroup& group);
  // A zombie whose tracer, not its parent, let go of it: now the parent hears of its end. Tree lock held.
  static void UntracedZombieLocked(ThreadGroup& group);
  static void JoinProcessGroupLocked(ThreadGroup& group, RefPtr<ProcessGroup> to);
  static void SignalProcessGroupLocked(ProcessGroup& group, const SignalInfo& info, SignalOrigin origin);

 private:
  static void ReparentChildrenLocked(ThreadGroup& group);
  static ThreadGroup* NewParentLocked(ThreadGroup& group);
  static void OrphanCheckLocked(ThreadGroup& leaving, ThreadGroup* parent);
  // Sends the exit signal; true when the parent does not want a zombie.
  static bool NotifyExitLocked(ThreadGroup& group);
};

}  // namespace sandbox
