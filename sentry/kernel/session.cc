#include "sentry/kernel/session.h"

#include <linux/capability.h>

#include "sentry/kernel/child_wait.h"
#include "sentry/kernel/job_control.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

Result<void> Take(Session& session, const RefPtr<ControllingTerminal>& terminal, int32_t foreground) {
  session.terminal = terminal;
  session.foreground = foreground;
  return {};
}

}  // namespace

Result<void> JobControl::Acquire(Task& task, const RefPtr<ControllingTerminal>& terminal, bool steal) {
  ThreadGroup& group = task.group();
  MutexLock tree(task.kernel().tree_lock());
  Session& session = *group.process_group_->session;
  if (session.id == group.tgid_ && session.terminal == terminal) return {};
  if (session.id != group.tgid_ || session.terminal != nullptr) return Err(EPERM);
  if (const RefPtr<Session> owner = terminal->session_.lock(); owner != nullptr && owner->terminal == terminal) {
    if (!steal || !task.creds().Has(CAP_SYS_ADMIN)) return Err(EPERM);
    owner->terminal.reset();
    owner->foreground = 0;
  }
  terminal->session_ = group.process_group_->session;
  return Take(session, terminal, group.process_group_->id);
}

void JobControl::AcquireOnOpen(Task& task, const RefPtr<ControllingTerminal>& terminal) {
  (void)Acquire(task, terminal, false);
}

Result<void> JobControl::Release(Task& task, const RefPtr<ControllingTerminal>& terminal) {
  ThreadGroup& group = task.group();
  {
    MutexLock tree(task.kernel().tree_lock());
    Session& session = *group.process_group_->session;
    if (session.terminal != terminal) return Err(ENOTTY);
    if (session.id != group.tgid_) return {};  // Linux detaches only this process; sessions are what we keep
    if (const auto foreground = task.kernel().FindProcessGroupLocked(session.foreground)) {
      ProcessTree::SignalProcessGroupLocked(*foreground, SignalInfo::Kernel(SIGHUP), SignalOrigin::kKernel);
      ProcessTree::SignalProcessGroupLocked(*foreground, SignalInfo::Kernel(SIGCONT), SignalOrigin::kKernel);
    }
    session.terminal.reset();
    session.foreground = 0;
    terminal->session_.reset();
  }
  return {};
}

RefPtr<ControllingTerminal> JobControl::Of(Task& task) {
  MutexLock tree(task.kernel().tree_lock());
  const auto& group = task.group().process_group_;
  return group == nullptr ? nullptr : group->session->terminal;
}

Result<int32_t> JobControl::Foreground(Task& task, ControllingTerminal& terminal, bool from_master) {
  MutexLock tree(task.kernel().tree_lock());
  const RefPtr<Session> session = terminal.session_.lock();
  if (!from_master && (session == nullptr || task.group().process_group_->session != session)) return Err(ENOTTY);
  return session == nullptr ? 0 : session->foreground;
}

Result<int32_t> JobControl::SessionId(Task& task, ControllingTerminal& terminal, bool from_master) {
  MutexLock tree(task.kernel().tree_lock());
  const RefPtr<Session> session = terminal.session_.lock();
  if (session == nullptr) return Err(ENOTTY);
  if (!from_master && task.group().process_group_->session != session) return Err(ENOTTY);
  return session->id;
}

Result<void> JobControl::SetForeground(Task& task, ControllingTerminal& terminal, int32_t pgid) {
  if (const auto access = CheckAccess(task, terminal, SIGTTOU); !access.ok()) {
    return access.Is(EIO) ? Err(ENOTTY) : access.error();
  }
  MutexLock tree(task.kernel().tree_lock());
  const RefPtr<Session> session = terminal.session_.lock();
  if (session == nullptr || task.group().process_group_->session != session) return Err(ENOTTY);
  if (pgid < 0) return Err(EINVAL);
  const RefPtr<ProcessGroup> group = task.kernel().FindProcessGroupLocked(pgid);
  if (group == nullptr) return Err(ESRCH);
  if (group->session != session) return Err(EPERM);
  session->foreground = pgid;
  return {};
}

Result<void> JobControl::CheckAccess(Task& task, ControllingTerminal& terminal, int signo) {
  const SignalAction action = task.group().handlers()->Get(signo);
  const bool ignored = action.is_ignore() || (task.signal_mask() & SignalBit(signo));
  MutexLock tree(task.kernel().tree_lock());
  const RefPtr<ProcessGroup> group = task.group().process_group_;
  if (group == nullptr || group->session->terminal.get() != &terminal) return {};  // not ours: no rules
  if (group->session->foreground == 0 || group->session->foreground == group->id) return {};
  if (ignored) return signo == SIGTTIN ? Result<void>(Err(EIO)) : Result<void>();
  if (IsOrphanedLocked(*group, nullptr)) return Err(EIO);
  ProcessTree::SignalProcessGroupLocked(*group, SignalInfo::Kernel(signo), SignalOrigin::kKernel);
  return Err(kErestartsys);
}

void JobControl::SignalForeground(Kernel& kernel, ControllingTerminal& terminal, int signo) {
  MutexLock tree(kernel.tree_lock());
  const RefPtr<Session> session = terminal.session_.lock();
  if (session == nullptr) return;
  const auto group = kernel.FindProcessGroupLocked(session->foreground);
  if (group != nullptr) ProcessTree::SignalProcessGroupLocked(*group, SignalInfo::Kernel(signo), SignalOrigin::kKernel);
}

void JobControl::HangupSession(Kernel& kernel, ControllingTerminal& terminal) {
  MutexLock tree(kernel.tree_lock());
  const RefPtr<Session> session = terminal.session_.lock();
  if (session == nullptr) return;
  if (const ThreadGroupRef leader = kernel.FindGroupLocked(session->id)) {
    (void)leader->SendSignal(SignalInfo::Kernel(SIGHUP), SignalOrigin::kKernel);
    (void)leader->SendSignal(SignalInfo::Kernel(SIGCONT), SignalOrigin::kKernel);
  }
  if (const auto group = kernel.FindProcessGroupLocked(session->foreground)) {
    ProcessTree::SignalProcessGroupLocked(*group, SignalInfo::Kernel(SIGHUP), SignalOrigin::kKernel);
    ProcessTree::SignalProcessGroupLocked(*group, SignalInfo::Kernel(SIGCONT), SignalOrigin::kKernel);
  }
  session->terminal.reset();
  session->foreground = 0;
  terminal.session_.reset();
}

void JobControl::LeaderExits(ThreadGroup& leader) {
  RefPtr<ControllingTerminal> terminal;  // released after the lock
  MutexLock tree(leader.kernel().tree_lock());
  if (leader.process_group_ == nullptr) return;
  Session& session = *leader.process_group_->session;
  if (session.id != leader.tgid_ || session.terminal == nullptr) return;
  terminal = std::exchange(session.terminal, nullptr);
  terminal->session_.reset();
  // The foreground learns of it; a pseudoterminal itself, and these are all we have, is not hung up.
  if (const auto group = leader.kernel().FindProcessGroupLocked(std::exchange(session.foreground, 0))) {
    ProcessTree::SignalProcessGroupLocked(*group, SignalInfo::Kernel(SIGHUP), SignalOrigin::kKernel);
  }
}

}  // namespace sandbox
