#include "sentry/kernel/ptrace.h"

#include <linux/capability.h>
#include <linux/ptrace.h>
#include <sys/wait.h>

#include <algorithm>

#include "sentry/kernel/child_wait.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ptrace_access.h"
#include "sentry/kernel/task.h"

namespace sandbox {

Result<void> Ptrace::CheckLocked(const Task& tracer, const Task& tracee, bool stopped) {
  const PtraceState& state = tracee.ptrace_;
  if (state.tracer != &tracer.group() || state.tracer_tid != tracer.tid()) return Err(ESRCH);
  if (stopped && (!state.stopped || state.resume || state.listening)) return Err(ESRCH);
  return {};
}

void Ptrace::LinkLocked(Task& tracee, ThreadGroup& tracer, int32_t tracer_tid, bool seize, uint32_t options) {
  tracee.ptrace_ = {};
  tracee.ptrace_.tracer = &tracer;
  tracee.ptrace_.tracer_tid = tracer_tid;
  tracee.ptrace_.seized = seize;
  tracee.ptrace_.options = options;
  tracee.traced_.store(true);
  tracer.tracees_.push_back(tracee.shared_from_this());
  MutexLock lock(tracee.mu_);
  if (tracee.thread_ != nullptr) tracee.thread_->SetLocalIdentity(std::nullopt);
}

void Ptrace::UnlinkLocked(Task& tracee) {
  PtraceState& state = tracee.ptrace_;
  if (state.tracer == nullptr) return;
  std::erase_if(state.tracer->tracees_, [&](const TaskRef& t) { return t.get() == &tracee; });
  state.tracer = nullptr;
  tracee.traced_.store(false);
}

Result<void> Ptrace::TraceMe(Task& task) {
  MutexLock tree(task.kernel().tree_lock());
  ThreadGroup* const parent = task.group().parent_;
  if (task.ptrace_.tracer != nullptr || parent == nullptr) return Err(EPERM);
  LinkLocked(task, *parent, task.group().parent_tid_, false, 0);
  return {};
}

Result<void> Ptrace::Attach(Task& tracer, Task& target, bool seize, uint32_t options) {
  if (&tracer.group() == &target.group()) return Err(EPERM);
  TRY(MayInspect(tracer, target, true));
  {
    MutexLock tree(tracer.kernel().tree_lock());
    if (target.group().zombie() || target.state() == Task::State::kZombie) return Err(EPERM);
    if (target.ptrace_.tracer != nullptr) return Err(EPERM);
    LinkLocked(target, tracer.group(), tracer.tid(), seize, options);
  }
  // A task that job control stopped becomes a traced stop; another one gets the signal that stops it.
  target.LookAtTracer();
  // The caller finds a task that was stopped in a traced stop (Linux: JOBCTL_TRAPPING).
  TRY(BlockUntil(tracer, tracer.group().child_events(), kReadable, std::nullopt, [&]() -> Result<void> {
    MutexLock tree(tracer.kernel().tree_lock());
    MutexLock lock(target.group().sig_mu_);
    const bool becomes_traced = target.group().stop_complete_ && target.ptrace_.tracer == &tracer.group();
    return becomes_traced && !target.ptrace_.stopped && !target.killed() ? Result<void>(Err(EAGAIN)) : Result<void>();
  }));
  if (seize) return {};
  return target.group().SendSignalTo(target, SignalInfo::Kernel(SIGSTOP), SignalOrigin::kKernel);
}

void Ptrace::ReleaseLocked(Task& tracee, int signal) {
  PtraceState& state = tracee.ptrace_;
  state.signal = signal;
  state.mode = PtraceState::Resume::kContinue;
  state.resume = true;
  UnlinkLocked(tracee);
  tracee.LookAtTracer();
}

Result<void> Ptrace::Detach(Task& tracer, Task& tracee, int signal) {
  if (signal < 0 || signal > kSignalCount) return Err(EIO);
  MutexLock tree(tracer.kernel().tree_lock());
  TRY(CheckLocked(tracer, tracee, true));
  ReleaseLocked(tracee, signal);
  return {};
}

Result<void> Ptrace::Continue(Task& tracer, Task& tracee, PtraceState::Resume mode, int signal) {
  if (signal < 0 || signal > kSignalCount) return Err(EIO);
  MutexLock tree(tracer.kernel().tree_lock());
  TRY(CheckLocked(tracer, tracee, true));
  PtraceState& state = tracee.ptrace_;
  state.mode = mode;
  state.signal = signal;
  state.resume = true;
  state.unreported = false;
  tracee.LookAtTracer();
  return {};
}

Result<void> Ptrace::Kill(Task& tracer, Task& tracee) {
  {
    MutexLock tree(tracer.kernel().tree_lock());
    TRY(CheckLocked(tracer, tracee, false));
  }
  tracee.group().BeginGroupExit(SIGKILL);
  return {};
}

Result<void> Ptrace::Interrupt(Task& tracer, Task& tracee) {
  MutexLock tree(tracer.kernel().tree_lock());
  TRY(CheckLocked(tracer, tracee, false));
  if (!tracee.ptrace_.seized) return Err(EIO);
  if (tracee.ptrace_.stopped && !tracee.ptrace_.listening) return {};
  tracee.ptrace_trap_.store(true);
  tracee.LookAtTracer();
  return {};
}

Result<void> Ptrace::Listen(Task& tracer, Task& tracee) {
  MutexLock tree(tracer.kernel().tree_lock());
  TRY(CheckLocked(tracer, tracee, true));
  if (!tracee.ptrace_.seized || tracee.ptrace_.report.status >> 8 != PTRACE_EVENT_STOP) return Err(EIO);
  tracee.ptrace_.listening = true;
  tracee.ptrace_.unreported = false;
  tracee.LookAtTracer();
  return {};
}

Result<void> Ptrace::SetOptions(Task& tracer, Task& tracee, uint32_t options) {
  MutexLock tree(tracer.kernel().tree_lock());
  TRY(CheckLocked(tracer, tracee, true));
  tracee.ptrace_.options = options;
  return {};
}

Result<PtraceReport> Ptrace::Report(Task& tracer, Task& tracee) {
  MutexLock tree(tracer.kernel().tree_lock());
  TRY(CheckLocked(tracer, tracee, true));
  return tracee.ptrace_.report;
}

Result<void> Ptrace::SetInfo(Task& tracer, Task& tracee, const SignalInfo& info) {
  MutexLock tree(tracer.kernel().tree_lock());
  TRY(CheckLocked(tracer, tracee, true));
  if (!tracee.ptrace_.report.has_info) return Err(EINVAL);
  tracee.ptrace_.report.info = info;
  return {};
}

Result<void> Ptrace::Do(Task& tracer, Task& tracee, std::function<Result<void>(Task&)> run) {
  auto work = std::make_shared<PtraceWork>();
  work->run = std::move(run);
  work->caller = tracer.shared_from_this();
  {
    MutexLock tree(tracer.kernel().tree_lock());
    TRY(CheckLocked(tracer, tracee, true));
    tracee.ptrace_.work = work;
    tracee.LookAtTracer();
  }
  // Short: the tracee does nothing else. A fatal signal for the tracer must not leave the work half watched.
  while (!work->done.load()) {
    if (!tracer.BlockKillable(std::nullopt).ok()) {
      MutexLock tree(tracer.kernel().tree_lock());
      if (tracee.ptrace_.work == work) {
        tracee.ptrace_.work = nullptr;
        return Err(kErestartnointr);
      }
      sched_yield();  // under way already, with references to our stack
    }
  }
  return work->result;
}

int32_t Ptrace::TracerTgid(Task& tracee) {
  MutexLock tree(tracee.kernel().tree_lock());
  return tracee.ptrace_.tracer == nullptr ? 0 : tracee.ptrace_.tracer->tgid();
}

void Ptrace::Inherit(Task& parent, Task& child) {
  MutexLock tree(parent.kernel().tree_lock());
  const PtraceState& own = parent.ptrace_;
  if (own.tracer == nullptr) return;
  LinkLocked(child, *own.tracer, own.tracer_tid, own.seized, own.options);
  if (own.seized) {
    child.ptrace_trap_.store(true);
    child.LookAtTracer();
  } else {
    (void)child.group().SendSignalTo(child, SignalInfo::Kernel(SIGSTOP), SignalOrigin::kKernel);
  }
}

void Ptrace::TracerExits(Task& tracer) {
  std::vector<ThreadGroupRef> doomed;
  {
    MutexLock tree(tracer.kernel().tree_lock());
    const std::vector<TaskRef> all = tracer.group().tracees_;
    for (const TaskRef& tracee : all) {
      if (tracee->ptrace_.tracer_tid != tracer.tid()) continue;
      if (tracee->ptrace_.options & PTRACE_O_EXITKILL) doomed.push_back(tracee->group().shared_from_this());
      const bool thread_exited = tracee->ptrace_.thread_exited;
      ReleaseLocked(*tracee, 0);
      if (thread_exited) tracer.kernel().ForgetTaskLocked(*tracee);
      if (tracee->group().zombie() && tracee->group().leader_ == tracee)
        ProcessTree::UntracedZombieLocked(tracee->group());
    }
  }
  for (const ThreadGroupRef& group : doomed) group->BeginGroupExit(SIGKILL);
}

bool Ptrace::ThreadExited(Task& thread, int status) {
  MutexLock tree(thread.kernel().tree_lock());
  if (thread.ptrace_.tracer == nullptr) return false;
  thread.ptrace_.thread_exited = true;
  thread.ptrace_.exit_status = status;
  NotifyTracerLocked(thread, DeathCode(status), WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  return true;
}

void Ptrace::NotifyTracerLocked(Task& tracee, int code, int status) {
  ThreadGroup* const tracer = tracee.ptrace_.tracer;
  const SignalAction action = tracer->handlers()->Get(SIGCHLD);
  const bool unwanted = code == CLD_TRAPPED && (action.flags & SA_NOCLDSTOP);
  if (!unwanted && !action.is_ignore()) {
    SignalInfo info;
    info.signo = SIGCHLD;
    info.code = code;
    info.child.pid = tracee.tid();
    info.child.uid = tracee.creds_ref()->uid;
    info.child.status = status;
    (void)tracer->SendSignal(info, SignalOrigin::kKernel);
  }
  tracer->child_events_.Notify(kReadable);
}

}  // namespace sandbox
