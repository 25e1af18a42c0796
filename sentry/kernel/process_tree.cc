// Families: sessions and process groups, reparenting, zombies (Linux: kernel/exit.c exit_notify, kernel/sys.c setpgid).
#include <sys/wait.h>

#include "sentry/kernel/child_wait.h"
#include "sentry/kernel/job_control.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {

uint32_t ProcessTree::UidOf(const ThreadGroup& group) {
  return group.leader_ == nullptr ? 0 : group.leader_->creds_ref()->uid;
}

void ProcessTree::JoinProcessGroupLocked(ThreadGroup& group, RefPtr<ProcessGroup> to) NO_THREAD_SAFETY_ANALYSIS {
  Kernel& kernel = group.kernel_;
  if (const RefPtr<ProcessGroup> old = group.process_group_; old != nullptr) {
    old->members.erase(&group);
    if (old->members.empty() && old != to) kernel.process_groups_.erase(old->id);
  }
  group.process_group_ = std::move(to);
  if (group.process_group_ == nullptr) return;
  group.process_group_->members.insert(&group);
  kernel.process_groups_[group.process_group_->id] = group.process_group_;
}

Result<int32_t> ProcessTree::NewSession(Task& task) {
  ThreadGroup& group = task.group();
  MutexLock tree(task.kernel().tree_lock());
  // Any group of that number means we lead one already, or its session does.
  if (task.kernel().FindProcessGroupLocked(group.tgid_) != nullptr) return Err(EPERM);
  JoinProcessGroupLocked(group, MakeRef<ProcessGroup>(group.pid_, MakeRef<Session>(group.pid_)));
  return group.pid_->own();
}

Result<void> ProcessTree::SetProcessGroup(Task& task, int32_t pid, int32_t pgid) {
  Kernel& kernel = task.kernel();
  ThreadGroup& self = task.group();
  if (pgid < 0 || (pgid == 0 && pid < 0)) return Err(EINVAL);
  pid = pid == 0 ? self.tgid_ : task.ActualPid(pid);
  // A number that names nothing here may still be wrong in another way first, as 0 is nobody's.
  pgid = pgid == 0 ? pid : task.ActualPid(pgid);
  MutexLock tree(kernel.tree_lock());
  const TaskRef target = kernel.FindTaskLocked(pid);
  if (target == nullptr) return Err(ESRCH);
  ThreadGroup& group = target->group();
  if (group.tgid_ != pid) return Err(EINVAL);
  if (group.parent_ == &self) {
    if (group.process_group_->session != self.process_group_->session) return Err(EPERM);
    if (group.did_exec.load()) return Err(EACCES);
  } else if (&group != &self) {
    return Err(ESRCH);
  }
  const RefPtr<Session> session = group.process_group_->session;
  if (session->id == group.tgid_) return Err(EPERM);
  RefPtr<ProcessGroup> to;
  if (pgid == pid && kernel.FindProcessGroupLocked(pgid) == nullptr) {
    to = MakeRef<ProcessGroup>(group.pid_, session);
  } else {
    to = kernel.FindProcessGroupLocked(pgid);
    if (to == nullptr || to->session != session) return Err(EPERM);
  }
  if (to != group.process_group_) JoinProcessGroupLocked(group, std::move(to));
  return {};
}

void ProcessTree::SignalProcessGroupLocked(ProcessGroup& group, const SignalInfo& info, SignalOrigin origin) {
  for (ThreadGroup* member : group.members) (void)member->SendSignal(info, origin);
}

void ProcessTree::OrphanCheckLocked(ThreadGroup& leaving, ThreadGroup* parent) {
  ProcessGroup* group = leaving.process_group_.get();
  if (group == nullptr) return;
  // The group had somebody to look after it only if the link to that parent mattered.
  if (parent != nullptr) {
    const ProcessGroup* other = parent->process_group_.get();
    if (other == nullptr || other == group || other->session != group->session) return;
  }
  if (!IsOrphanedLocked(*group, parent == nullptr ? nullptr : &leaving) || !HasStoppedMember(*group)) return;
  SignalProcessGroupLocked(*group, SignalInfo::Kernel(SIGHUP), SignalOrigin::kKernel);
  SignalProcessGroupLocked(*group, SignalInfo::Kernel(SIGCONT), SignalOrigin::kKernel);
}

ThreadGroup* ProcessTree::NewParentLocked(ThreadGroup& group) NO_THREAD_SAFETY_ANALYSIS {
  PidNamespace& space = group.pid_->space();
  for (ThreadGroup* up = group.parent_; up != nullptr && &up->pid_->space() == &space; up = up->parent_) {
    if (up->child_subreaper.load() && !up->exiting() && !up->zombie()) return up;
  }
  ThreadGroup* init = space.init;
  return init != nullptr && init != &group && !init->zombie() ? init : nullptr;
}

void ProcessTree::ReparentChildrenLocked(ThreadGroup& group) {
  ThreadGroup* parent = NewParentLocked(group);
  const std::map<int32_t, ThreadGroupRef> children = std::exchange(group.children_, {});
  for (const auto& [tgid, child] : children) {
    child->parent_ = parent;
    if (parent != nullptr) {
      child->parent_tid_ = parent->tgid_;
      child->exit_signal_ = SIGCHLD;  // a new parent knows nothing of special arrangements
      parent->children_[tgid] = child;
    }
    // The dying parent may have been what kept the child's group from being an orphan.
    if (child->process_group_ != nullptr && group.process_group_ != nullptr &&
        child->process_group_ != group.process_group_ &&
        child->process_group_->session == group.process_group_->session) {
      OrphanCheckLocked(*child, nullptr);
    }
    if (child->zombie() && (parent == nullptr || NotifyExitLocked(*child))) ReapLocked(*child);
  }
}

bool ProcessTree::NotifyExitLocked(ThreadGroup& group) {
  ThreadGroup* parent = group.parent_;
  if (parent == nullptr) return true;
  bool unwanted = false;
  int signo = group.exit_signal_;
  if (signo == SIGCHLD) {
    const SignalAction action = parent->handlers()->Get(SIGCHLD);
    unwanted = action.is_ignore() || (action.flags & SA_NOCLDWAIT);
    if (action.is_ignore()) signo = 0;
  }
  if (signo != 0) {
    const int status = group.exit_status();
    const int code_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
    (void)parent->SendSignal(ChildSignal(group, signo, DeathCode(status), code_status), SignalOrigin::kKernel);
  }
  return unwanted;
}

void ProcessTree::GroupExited(ThreadGroup& group) {
  Kernel& kernel = group.kernel_;
  JobControl::LeaderExits(group);
  std::vector<std::function<void(int)>> callbacks;
  const ThreadGroupRef hold = group.shared_from_this();
  {
    MutexLock tree(kernel.tree_lock());
    ReparentChildrenLocked(group);
    OrphanCheckLocked(group, group.parent_);
    group.zombie_.store(true);
    if (PidNamespace& space = group.pid_->space(); space.init == &group) space.init = nullptr;
    const int status = group.exit_status();
    const ThreadGroup* const tracer = group.leader_ == nullptr ? nullptr : group.leader_->ptrace_.tracer;
    if (tracer != nullptr && tracer != group.parent_) {
      const int code_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
      Ptrace::NotifyTracerLocked(*group.leader_, DeathCode(status), code_status);
    } else {
      UntracedZombieLocked(group);
    }
    if (auto found = kernel.exit_callbacks_.extract(&group)) callbacks = std::move(found.mapped());
  }
  group.exit_events_.Notify(kReadable);
  for (const auto& done : callbacks) done(group.exit_status());
}

void ProcessTree::UntracedZombieLocked(ThreadGroup& group) {
  ThreadGroup* const parent = group.parent_;
  if (NotifyExitLocked(group)) ReapLocked(group);
  if (parent != nullptr) parent->child_events_.Notify(kReadable);
}

void ProcessTree::ReapLocked(ThreadGroup& group) NO_THREAD_SAFETY_ANALYSIS {
  if (std::exchange(group.reaped_, true)) return;
  Kernel& kernel = group.kernel_;
  if (ThreadGroup* parent = group.parent_; parent != nullptr) {
    Usage usage = group.usage();
    usage.Add(group.children_usage());
    {
      MutexLock lock(parent->usage_mu_);
      parent->reaped_children_.Add(usage);
    }
    parent->children_.erase(group.tgid_);
    group.parent_ = nullptr;
  }
  JoinProcessGroupLocked(group, nullptr);
  const TaskRef leader = std::exchange(group.leader_, nullptr);
  if (leader == nullptr) return;
  Ptrace::UnlinkLocked(*leader);
  kernel.ForgetTaskLocked(*leader);
}

}  // namespace sandbox
