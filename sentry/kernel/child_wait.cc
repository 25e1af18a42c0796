#include "sentry/kernel/child_wait.h"

#include <sys/wait.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {

SignalInfo ChildSignal(const ThreadGroup& child, int signo, int code, int status) {
  constexpr uint64_t kNsPerTick = 10'000'000;
  SignalInfo info;
  info.signo = signo;
  info.code = code;
  // The parent gets it, and reads it with its own eyes.
  const ThreadGroup* const parent = ProcessTree::ParentOf(child);
  info.child.pid = parent == nullptr ? 0 : child.pid()->In(parent->pid()->space());
  info.child.status = status;
  info.child.uid = ProcessTree::UidOf(child);
  const Usage usage = child.usage();
  info.child.utime = static_cast<int64_t>(usage.user_ns / kNsPerTick);
  info.child.stime = static_cast<int64_t>(usage.system_ns / kNsPerTick);
  return info;
}

// One pass over the children; the state of the search is on the caller's stack.
struct ChildWaiter {
  Task& task;
  ThreadGroup& self;
  const WaitSelector& selector;

  bool Fits(const ThreadGroup& child) const {
    switch (selector.kind) {
      case WaitSelector::kAny:
        break;
      case WaitSelector::kPid:
        if (child.tgid_ != selector.id) return false;
        break;
      case WaitSelector::kProcessGroup:
        if (child.process_group_ == nullptr || child.process_group_->id != selector.id) return false;
        break;
    }
    if ((selector.options & __WNOTHREAD) && child.parent_tid_ != task.tid()) return false;
    if (selector.options & __WALL) return true;
    // A "clone" child is one that reports with another signal than SIGCHLD.
    return (child.exit_signal_ != SIGCHLD) == ((selector.options & __WCLONE) != 0);
  }

  std::optional<WaitResult> Exited(ThreadGroup& child) const {
    if (!(selector.options & WEXITED) || !child.zombie()) return std::nullopt;
    WaitResult result;
    result.status = child.exit_status();
    result.code = DeathCode(result.status);
    result.code_status = WIFEXITED(result.status) ? WEXITSTATUS(result.status) : WTERMSIG(result.status);
    return result;
  }

  std::optional<WaitResult> StoppedOrContinued(ThreadGroup& child) const {
    const bool keep = selector.options & WNOWAIT;
    MutexLock lock(child.sig_mu_);
    WaitResult result;
    if ((selector.options & WSTOPPED) && child.stop_complete_ && child.stop_unreported_) {
      child.stop_unreported_ = keep;
      result.status = (child.stop_signal_ << 8) | 0x7f;
      result.code = CLD_STOPPED;
      result.code_status = child.stop_signal_;
      return result;
    }
    if ((selector.options & WCONTINUED) && child.continue_unreported_) {
      child.continue_unreported_ = keep;
      result.status = 0xffff;
      result.code = CLD_CONTINUED;
      result.code_status = SIGCONT;
      return result;
    }
    return std::nullopt;
  }

  static const ThreadGroup* TracerOf(const ThreadGroup& child) {
    return child.leader_ == nullptr ? nullptr : child.leader_->ptrace_.tracer;
  }

  bool FitsTracee(const Task& tracee) const {
    const ThreadGroup& group = tracee.group();
    if ((selector.options & __WNOTHREAD) && tracee.ptrace_.tracer_tid != task.tid()) return false;
    switch (selector.kind) {
      case WaitSelector::kAny:
        return true;
      case WaitSelector::kPid:
        return tracee.tid() == selector.id;
      case WaitSelector::kProcessGroup:
        return group.process_group_ != nullptr && group.process_group_->id == selector.id;
    }
    return false;
  }

  // Tracees, threads among them; their stops count whatever the options say.
  std::optional<WaitResult> Traced(bool* any) NO_THREAD_SAFETY_ANALYSIS {
    const std::vector<TaskRef> tracees = self.tracees_;
    for (const TaskRef& tracee : tracees) {
      if (!FitsTracee(*tracee)) continue;
      *any = true;
      PtraceState& state = tracee->ptrace_;
      ThreadGroup& group = tracee->group();
      const bool keep = selector.options & WNOWAIT;
      const bool leader_gone = group.zombie() && group.leader_ == tracee && group.parent_ != &self;
      WaitResult result;
      result.pid = tracee->pid()->In(task.pid_space());
      result.uid = tracee->creds_ref()->uid;
      if ((state.thread_exited || leader_gone) && (selector.options & WEXITED)) {
        result.status = leader_gone ? group.exit_status() : state.exit_status;
        result.code = DeathCode(result.status);
        result.code_status = WIFEXITED(result.status) ? WEXITSTATUS(result.status) : WTERMSIG(result.status);
        result.usage = leader_gone ? group.usage() : tracee->usage();
        if (keep) return result;
        Ptrace::UnlinkLocked(*tracee);
        if (leader_gone) {
          ProcessTree::UntracedZombieLocked(group);
        } else {
          task.kernel().ForgetTaskLocked(*tracee);
        }
        return result;
      }
      if (!state.stopped || !state.unreported) continue;
      state.unreported = keep;
      result.status = state.report.status << 8 | 0x7f;
      result.code = CLD_TRAPPED;
      result.code_status = state.report.status;
      return result;
    }
    return std::nullopt;
  }

  Result<WaitResult> Attempt() {
    MutexLock tree(task.kernel().tree_lock());
    bool any = false;
    for (const auto& [tgid, child] : self.children_) {
      if (!Fits(*child)) continue;
      any = true;
      const ThreadGroup* const tracer = TracerOf(*child);
      if (tracer != nullptr && tracer != &self) continue;  // the tracer sees everything first
      auto result = Exited(*child);
      const bool reap = result && !(selector.options & WNOWAIT);
      if (!result && !child->zombie() && tracer == nullptr) result = StoppedOrContinued(*child);
      if (!result) continue;
      result->pid = child->pid()->In(task.pid_space());
      result->uid = ProcessTree::UidOf(*child);
      result->usage = child->usage();
      result->usage.Add(child->children_usage());
      const ThreadGroupRef hold = child;
      if (reap) ProcessTree::ReapLocked(*hold);
      return *result;
    }
    if (auto result = Traced(&any)) return *result;
    if (!any) return Err(ECHILD);
    if (selector.options & WNOHANG) return WaitResult{};
    return Err(EAGAIN);
  }
};

int DeathCode(int status) {
  if (WIFEXITED(status)) return CLD_EXITED;
  return (status & 0x80) ? CLD_DUMPED : CLD_KILLED;
}

Result<WaitResult> WaitForChild(Task& task, const WaitSelector& selector) {
  ChildWaiter waiter{task, task.group(), selector};
  return BlockUntil(task, task.group().child_events(), kReadable, std::nullopt, [&] { return waiter.Attempt(); });
}

}  // namespace sandbox
