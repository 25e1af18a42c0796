// Stopping and continuing whole groups (Linux: do_signal_stop, prepare_signal) and orphaned process groups.
#include "sentry/kernel/job_control.h"

#include "sentry/kernel/child_wait.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {

void ThreadGroup::BeginStopLocked(int signo) {
  if (exiting_.load()) return;
  if (stop_requested_) {
    // Stopped already, but for those whom their tracers let run.
    for (Task* task : tasks_) {
      if (std::exchange(task->stop_waived_, false)) task->KickLocked();
    }
    return;
  }
  stop_requested_ = true;
  stop_complete_ = false;
  stop_signal_ = signo;
  stopping_ = 0;
  for (Task* task : tasks_) {
    if (task->exited_) continue;
    ++stopping_;
    task->stop_joined_ = task->stop_waived_ = false;
    task->KickLocked();
  }
}

void ThreadGroup::ThreadStoppedLocked() {
  if (--stopping_ > 0) return;
  stop_complete_ = true;
  stop_unreported_ = true;
  continue_unreported_ = false;
}

void ThreadGroup::ContinueLocked() {
  if (!stop_requested_) return;
  if (stop_complete_) {
    continue_unreported_ = true;
    pending_notice_ = CLD_CONTINUED;  // told by the first thread that wakes: the tree lock comes before ours
  }
  stop_requested_ = stop_complete_ = false;
  stop_unreported_ = false;
  stopping_ = 0;
  for (Task* task : tasks_) {
    task->stop_joined_ = task->stop_waived_ = false;
    task->KickLocked();
  }
}

void ThreadGroup::NotifyParentOfJobControl(int code, int status) {
  MutexLock tree(kernel_.tree_lock());
  if (parent_ == nullptr) return;
  const RefPtr<SignalHandlers> handlers = parent_->handlers();
  const SignalAction action = handlers->Get(SIGCHLD);
  if (!(action.flags & SA_NOCLDSTOP) && !action.is_ignore()) {
    (void)parent_->SendSignal(ChildSignal(*this, SIGCHLD, code, status), SignalOrigin::kKernel);
  }
  parent_->child_events_.Notify(kReadable);
}

bool IsOrphanedLocked(const ProcessGroup& group, const ThreadGroup* without) {
  for (const ThreadGroup* member : group.members) {
    if (member == without || member->zombie() || ProcessTree::ParentOf(*member) == nullptr) continue;
    const ProcessGroup* parents = ProcessTree::ProcessGroupOf(*ProcessTree::ParentOf(*member));
    if (parents != nullptr && parents != &group && parents->session == group.session) return false;
  }
  return true;
}

bool IsOrphanedProcessGroup(ThreadGroup& group) {
  MutexLock tree(group.kernel().tree_lock());
  const ProcessGroup* own = ProcessTree::ProcessGroupOf(group);
  return own == nullptr || IsOrphanedLocked(*own, nullptr);
}

bool HasStoppedMember(const ProcessGroup& group) {
  for (const ThreadGroup* member : group.members) {
    if (member->stopped()) return true;
  }
  return false;
}

}  // namespace sandbox
