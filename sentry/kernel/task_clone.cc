// clone(2) and its kin (Linux: kernel/fork.c copy_process).
#include <linux/capability.h>
#include <linux/ptrace.h>
#include <sched.h>

#include <cstring>

#include "base/cleanup.h"
#include "sentry/kernel/child_wait.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/sysv_sem.h"
#include "sentry/kernel/task_init.h"
#include "sentry/kernel/task_namespaces.h"

namespace sandbox {
namespace {

constexpr uint64_t kCloneClearSighand = 0x100000000;
constexpr uint64_t kCloneNewTime = 0x80;

bool Both(uint64_t flags, uint64_t a, uint64_t b) { return (flags & a) && (flags & b); }

Result<void> CheckFlags(const Task& task, const CloneArgs& args) {
  const uint64_t f = args.flags;
  if (Both(f, CLONE_NEWNS, CLONE_FS) || Both(f, CLONE_NEWUSER, CLONE_FS)) return Err(EINVAL);
  if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND)) return Err(EINVAL);
  if ((f & CLONE_SIGHAND) && !(f & CLONE_VM)) return Err(EINVAL);
  if (Both(f, CLONE_SIGHAND, kCloneClearSighand)) return Err(EINVAL);
  if ((f & CLONE_PARENT) && task.pid()->own() == 1) return Err(EINVAL);
  // A thread is where its group is.
  if (f & CLONE_THREAD) {
    if (f & (CLONE_NEWUSER | CLONE_NEWPID)) return Err(EINVAL);
    if (task.namespaces().pids.get() != &task.pid_space()) return Err(EINVAL);
  }
  if (Both(f, CLONE_NEWIPC, CLONE_SYSVSEM)) return Err(EINVAL);
  if (Both(f, CLONE_PIDFD, CLONE_DETACHED)) return Err(EINVAL);
  if (f & kCloneNewTime) return Err(EINVAL);  // as CONFIG_TIME_NS=n
  return {};
}

// clone3's set_tid: numbers to be given, from the innermost namespace outwards (Linux: alloc_pid).
Result<void> CheckWantedNumbers(const Task& task, const std::vector<int32_t>& wanted, const PidNamespace& innermost) {
  const PidNamespace* space = &innermost;
  for (const int32_t number : wanted) {
    if (space == nullptr || number < 1) return Err(EINVAL);
    const Credentials& creds = task.creds();
    if (!creds.HasIn(*space->owner(), CAP_CHECKPOINT_RESTORE) && !creds.HasIn(*space->owner(), CAP_SYS_ADMIN)) {
      return Err(EPERM);
    }
    space = space->parent().get();
  }
  return {};
}

}  // namespace

// One clone: what was made so far, undone by the destructors when a step fails.
struct TaskCloner {
  Task& parent;
  Kernel& kernel;
  const CloneArgs& args;
  TaskRef child = nullptr;

  bool Has(uint64_t flag) const { return args.flags & flag; }

  RefPtr<FdTableUsers> Files() const {
    if (!Has(CLONE_FILES)) return MakeRef<FdTableUsers>(parent.fds_->table->Fork());
    parent.fds_->users.fetch_add(1);
    return parent.fds_;
  }

  ThreadGroupRef Group(const PidRef& pid) const {
    if (Has(CLONE_THREAD)) return parent.group_;
    const RefPtr<SignalHandlers> old = parent.group_->handlers();
    RefPtr<SignalHandlers> handlers = Has(CLONE_SIGHAND) ? old : old->Fork();
    if (Has(kCloneClearSighand)) handlers->ResetCaught();
    if (Has(CLONE_SIGHAND)) {
      old->NoteShared();
      MutexLock lock(parent.group_->sig_mu_);
      parent.group_->ShowActionsLocked();
    }
    auto group =
        MakeRef<ThreadGroup>(kernel, pid, parent.group_->cgroup_, std::move(handlers), parent.group_->limits_.All());
    group->oom_score_adj.store(parent.group_->oom_score_adj.load());
    group->thp_disabled.store(parent.group_->thp_disabled.load());
    return group;
  }

  void InheritAttributes() const {
    child->nice.store(parent.sched_reset_on_fork.load() ? 0 : parent.nice.load());
    child->sched_policy.store(parent.sched_reset_on_fork.load() ? 0 : parent.sched_policy.load());
    child->sched_priority.store(parent.sched_reset_on_fork.load() ? 0 : parent.sched_priority.load());
    child->ioprio.store(parent.ioprio.load());
    child->personality.store(parent.personality.load());
    child->memory_policy.store(parent.memory_policy.load());
    child->timer_slack_ns.store(parent.timer_slack_ns.load());
    child->default_timer_slack_ns.store(parent.timer_slack_ns.load());
    child->keep_caps.store(parent.keep_caps.load());
    child->io_flusher.store(parent.io_flusher.load());
    child->mce_kill_policy.store(parent.mce_kill_policy.load());
    Keys::Get().Inherit(parent, *child);
    child->SetCpuAffinity(parent.cpu_affinity());  // the host thread inherits it by itself
    // A thread that shares memory but is no vfork needs a signal stack of its own.
    if (!Has(CLONE_VM) || Has(CLONE_VFORK)) child->signal_stack_ = parent.signal_stack_;
    if (!Has(CLONE_VM)) child->rseq_ = parent.rseq_;  // as the host has it
  }

  Result<void> MakeThread() const {
    platform::CloneOptions options;
    options.share_memory = Has(CLONE_VM);
    options.thread = Has(CLONE_THREAD);
    child->thread_ = TRY(parent.thread_->Clone(options, *child));
    // The child's copy of the mappings is made after the host's: both happen while this thread is stopped.
    child->mm_ = Has(CLONE_VM) ? parent.mm_ : parent.mm_->Fork(child->thread_->address_space(), child->thread_.get());
    arch::Registers& regs = child->thread_->regs();
    regs.set_return_value(0);
    regs.orig_rax = arch::kNoSyscall;
    if (!args.stack.IsNull()) regs.set_sp(args.stack.value());
    if (Has(CLONE_SETTLS)) regs.set_tls(args.tls);
    child->UpdateLocalIdentity();
    child->ShareSignalState();
    return {};
  }

  // By the child itself, before anything else that it does: its memory may not be there yet.
  void WriteChildTid() const {
    const int32_t own = child->pid_->own();
    const bool plain = child->mm_->IsPlainMemory(args.child_tid, sizeof(own));
    if (char* const room = plain ? child->thread_->ReserveOutput(sizeof(own)) : nullptr) {
      std::memcpy(room, &own, sizeof(own));
      child->thread_->CommitOutput(args.child_tid, sizeof(own));
    } else {
      (void)OutPtr<int32_t>(args.child_tid).Write(*child->mm_, own);
    }
  }

  // Bad pointers do not fail the call: Linux ignores these writes' errors too.
  void WriteTids() const {
    const int32_t seen = child->pid_->In(parent.pid_space());
    if (Has(CLONE_PARENT_SETTID)) (void)OutPtr<int32_t>(args.parent_tid).Write(*parent.mm_, seen);
    if (Has(CLONE_CHILD_SETTID)) WriteChildTid();
    if (Has(CLONE_CHILD_CLEARTID)) child->clear_child_tid.store(args.child_tid.value());
  }

  // The last step that can fail: an exit or a stop of the group must not miss the new thread.
  Result<void> EnterTree() const {
    ThreadGroup& group = *child->group_;
    MutexLock tree(kernel.tree_mu_);
    PidNamespace& space = child->pid_->space();
    if (space.dying) return Err(ENOMEM);
    MutexLock lock(group.sig_mu_);
    if (Has(CLONE_THREAD) && (group.exiting_.load() || group.stop_requested_ || group.exec_task_ != nullptr)) {
      return Err(kErestartnointr);
    }
    // With the lock of a group that a TSYNC holds: it reaches the parent before this, or the child as well.
    child->no_new_privs.store(parent.no_new_privs.load());
    child->SetSeccomp(parent.seccomp());
    group.tasks_.push_back(child.get());
    if (group.pending_.set() != 0) child->thread_->SetSignalsPending(true);
    group.ShowActionsLocked();
    ++group.live_;
    kernel.tasks_[child->tid()] = child;
    kernel.forks_.fetch_add(1);
    if (Has(CLONE_THREAD)) return {};
    group.leader_ = child;
    group.leader_task_ = child.get();
    if (child->pid_->own() == 1) {
      space.init = &group;
      group.unkillable_ = true;
    }
    ThreadGroup* family = parent.group_.get();
    group.exit_signal_ = args.exit_signal;
    group.parent_tid_ = parent.tid();
    if (Has(CLONE_PARENT)) {
      group.exit_signal_ = family->exit_signal_;
      group.parent_tid_ = family->parent_tid_;
      family = family->parent_;
    }
    group.parent_ = family;
    if (family != nullptr) family->children_[group.tgid_] = child->group_;
    ProcessTree::JoinProcessGroupLocked(group, parent.group_->process_group_);
    return {};
  }

  // The event a tracer asked for, 0 = none.
  int TraceEvent() const {
    if (Has(CLONE_UNTRACED)) return 0;
    if (Has(CLONE_VFORK)) return parent.TracedWith(PTRACE_O_TRACEVFORK) ? PTRACE_EVENT_VFORK : 0;
    if (args.exit_signal != SIGCHLD) return parent.TracedWith(PTRACE_O_TRACECLONE) ? PTRACE_EVENT_CLONE : 0;
    return parent.TracedWith(PTRACE_O_TRACEFORK) ? PTRACE_EVENT_FORK : 0;
  }

  Result<int32_t> Run();
};

Result<int32_t> TaskCloner::Run() {
  const CredentialsRef creds = parent.creds_;
  const bool privileged = creds->Has(CAP_SYS_RESOURCE) || creds->Has(CAP_SYS_ADMIN) || creds->uid == 0;
  Surroundings around = TRY(MakeNamespaces(parent, args.flags, Has(CLONE_FS) ? parent.fs_ : parent.fs_->Fork()));
  TRY(CheckWantedNumbers(parent, args.set_tid, *around.spaces.pids));
  const PidRef pid = TRY(kernel.ReservePid({.creds = *creds,
                                            .nproc_limit = parent.rlimit(RLIMIT_NPROC),
                                            .privileged = privileged,
                                            .space = around.spaces.pids,
                                            .cgroup = parent.group_->cgroup(),
                                            .wanted = args.set_tid}));
  Cleanup release([&] { kernel.ReleasePid(parent.group_->cgroup(), creds->uid); });
  Task::Init init{.kernel = kernel,
                  .group = Group(pid),
                  .pid = pid,
                  .fs = std::move(around.fs),
                  .spaces = std::move(around.spaces),
                  .creds = std::move(around.creds),
                  .name = parent.name(),
                  .mask = parent.mask_.load()};
  init.fds = Files();
  child = MakeRef<Task>(std::move(init));
  Cleanup drop_files([&] { child->ReleaseFiles(); });
  InheritAttributes();
  TRY(MakeThread());
  Cleanup drop_thread([&] { child->thread_->Exit(); });
  std::optional<Fd> pidfd;
  if (Has(CLONE_PIDFD))
    pidfd = TRY(InstallPidFd(parent, child->group_, Has(CLONE_THREAD) ? child : nullptr, args.pidfd));
  Cleanup drop_pidfd([&] {
    if (pidfd) (void)parent.fds().Close(parent, *pidfd);
  });
  WriteTids();
  std::shared_ptr<VforkWait> vfork;
  if (Has(CLONE_VFORK)) {
    vfork = std::make_shared<VforkWait>();
    vfork->parent = parent.weak_from_this();
    child->vfork_ = vfork;
  }
  TRY(EnterTree());
  drop_pidfd.Release();
  drop_thread.Release();
  drop_files.Release();
  release.Release();
  const TaskRef running = std::move(child);
  // CPU time starts at zero again, the limit stays.
  if (!Has(CLONE_THREAD) && parent.rlimit(RLIMIT_CPU) != RLIM_INFINITY) running->group_->timers().FollowCpuLimit();
  const int event = TraceEvent();
  if (event != 0 || (Has(CLONE_PTRACE) && parent.traced())) Ptrace::Inherit(parent, *running);
  // One that the freezer did not see in the tree sees the freezer.
  if (running->group_->cgroup().frozen()) running->group_->LookAtFreezer();
  running->thread_->Start();
  if (event != 0) parent.ReportEvent(event, static_cast<uint64_t>(pid->root()));
  while (vfork != nullptr && !vfork->done.load()) {
    if (!parent.BlockKillable(std::nullopt).ok()) break;
  }
  if (vfork != nullptr && parent.TracedWith(PTRACE_O_TRACEVFORKDONE)) {
    parent.ReportEvent(PTRACE_EVENT_VFORK_DONE, static_cast<uint64_t>(pid->root()));
  }
  return pid->In(parent.pid_space());
}

Result<int32_t> Task::Clone(const CloneArgs& args) {
  TRY(CheckFlags(*this, args));
  if (args.flags & CLONE_SETTLS) {
    if (args.tls >= kernel_.platform().guest_range().end.value()) return Err(EPERM);
  }
  if (Interrupted()) return Err(kErestartnointr);  // as Linux: deliver first, then fork
  return TaskCloner{*this, kernel_, args}.Run();
}

Result<void> Task::Unshare(uint64_t flags) {
  constexpr uint64_t kKnown =
      CLONE_THREAD | CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM | kNewNamespaces;
  if (flags & CLONE_NEWUSER) flags |= CLONE_THREAD | CLONE_FS;
  if (flags & ~kKnown) return Err(EINVAL);
  // Memory and handlers can only be "unshared" by somebody who shares them with nobody.
  if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) && group_->thread_count() > 1) return Err(EINVAL);
  const bool own_places = flags & (CLONE_FS | CLONE_NEWNS);
  Surroundings now = TRY(MakeNamespaces(*this, flags, own_places ? fs_->Fork() : fs_));
  if (flags & CLONE_FILES) UnshareFiles();
  if (flags & (CLONE_NEWIPC | CLONE_SYSVSEM)) SemTable::ProcessEnded(*ipc(), tgid());
  SetNamespaces(std::move(now.spaces), std::move(now.fs));
  if (flags & CLONE_NEWUSER) SetCredentials(std::move(now.creds));
  return {};
}

void Task::UnshareFiles() {
  if (fds_->users.load() == 1) return;
  auto own = MakeRef<FdTableUsers>(fds_->table->Fork());
  RefPtr<FdTableUsers> old;
  {
    MutexLock lock(mu_);
    old = std::exchange(fds_, own);
  }
  if (old->users.fetch_sub(1) == 1) old->table->CloseAll(*this);
}

}  // namespace sandbox
