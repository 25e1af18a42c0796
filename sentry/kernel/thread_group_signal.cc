// Sending: what happens between kill(2) and a task noticing (Linux: kernel/signal.c __send_signal_locked,
// complete_signal).
#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/thread_group.h"

namespace sandbox {

Result<void> ThreadGroup::SendSignal(const SignalInfo& info, SignalOrigin origin) {
  MutexLock lock(sig_mu_);
  return SendLocked(nullptr, {info}, origin);
}

Result<void> ThreadGroup::SendSignalTo(Task& task, const SignalInfo& info, SignalOrigin origin) {
  MutexLock lock(sig_mu_);
  if (task.exited_) return Err(ESRCH);
  return SendLocked(&task, {info}, origin);
}

Result<void> ThreadGroup::SendTimerSignal(Task* task, const QueuedSignal& signal) {
  MutexLock lock(sig_mu_);
  PendingSignals& queue = task != nullptr ? task->pending_ : pending_;
  if (task != nullptr && task->exited_) return Err(ESRCH);
  // One entry a timer: further expiries count as overruns.
  if (queue.FindTimer(signal.timer) != nullptr) return Err(EBUSY);
  return SendLocked(task, signal, SignalOrigin::kKernel);
}

void ThreadGroup::DiscardTimerSignal(const void* timer) {
  MutexLock lock(sig_mu_);
  pending_.DiscardTimer(timer);
  for (Task* task : tasks_) task->pending_.DiscardTimer(timer);
}

void ThreadGroup::ShowActionsLocked() {
  const SignalSet untouched = handlers_->untouched();
  for (Task* task : tasks_) task->thread_->SetUntouchedActions(untouched, tasks_.size() == 1);
}

void ThreadGroup::DispositionChanged(int signo, const SignalAction& action) {
  const DefaultAction def = DefaultActionOf(signo);
  const bool ignored =
      action.is_ignore() || (action.is_default() && (def == DefaultAction::kIgnore || def == DefaultAction::kContinue));
  MutexLock lock(sig_mu_);
  ShowActionsLocked();
  if (!ignored) return;
  pending_.Discard(SignalBit(signo));
  for (Task* task : tasks_) task->pending_.Discard(SignalBit(signo));
}

Result<void> ThreadGroup::SendLocked(Task* target, const QueuedSignal& signal, SignalOrigin origin) {
  const int signo = signal.info.signo;
  if (tasks_.empty()) return {};  // a zombie takes signals and does nothing
  PrepareLocked(signo);
  if (IgnoredLocked(target, signo, origin)) return {};
  PendingSignals& queue = target != nullptr ? target->pending_ : pending_;
  if (!IsRealTime(signo) && queue.Contains(signo)) return {};
  if (signo != SIGKILL) {
    const bool must_fit = !IsRealTime(signo) && !signal.info.from_user();
    if (must_fit || !QueueFullLocked()) {
      queue.Add(signal);
    } else if (IsRealTime(signo) && signal.info.code != SI_USER) {
      return Err(EAGAIN);
    } else {
      queue.AddBare(signo);
    }
  }
  // Before the masks are looked at: who unblocks the signal from now on comes to see it.
  if (target != nullptr) {
    target->thread_->SetSignalsPending(true);
  } else {
    for (Task* task : tasks_) task->thread_->SetSignalsPending(true);
  }
  WakeForLocked(target, signo, origin);
  signal_events_.Notify(kReadable);
  return {};
}

bool ThreadGroup::QueueFullLocked() const {
  size_t queued = pending_.size();
  for (const Task* task : tasks_) queued += task->pending_.size();
  return queued >= limits_.soft(RLIMIT_SIGPENDING);
}

bool ThreadGroup::IgnoredLocked(const Task* target, int signo, SignalOrigin origin) {
  const Task* witness = target != nullptr ? target : tasks_.front();
  // Blocked signals stay: the disposition may change before they are unblocked.
  if (witness->LiveMaskLocked() & SignalBit(signo)) return false;
  if (witness->traced() && signo != SIGKILL) return false;  // the tracer is to see it
  const SignalAction action = handlers_->Get(signo);
  if (unkillable_ && action.is_default()) {
    const bool forced = origin == SignalOrigin::kHost && (SignalBit(signo) & kUnblockable);
    if (!forced) return true;
  }
  if (action.is_ignore()) return true;
  const DefaultAction def = DefaultActionOf(signo);
  return action.is_default() && (def == DefaultAction::kIgnore || def == DefaultAction::kContinue);
}

// Stop and continue cancel each other, whether or not they are caught.
void ThreadGroup::PrepareLocked(int signo) {
  const auto discard = [this](SignalSet set) NO_THREAD_SAFETY_ANALYSIS {
    pending_.Discard(set);
    for (Task* task : tasks_) task->pending_.Discard(set);
  };
  if (SignalBit(signo) & kStopSignals) discard(SignalBit(SIGCONT));
  if (signo == SIGCONT) {
    discard(kStopSignals);
    ContinueLocked();
  }
}

void ThreadGroup::WakeForLocked(Task* target, int signo, SignalOrigin) {
  const auto wants = [signo](const Task* task) {
    if (task->exited_ || task->killed()) return false;
    // Only SIGKILL and SIGCONT reach a stopped thread; it finds the others when it is continued.
    return signo == SIGKILL ||
           ((!task->stop_joined_ || task->stop_waived_) && !(task->LiveMaskLocked() & SignalBit(signo)));
  };
  Task* taker = nullptr;
  if (target != nullptr) {
    if (wants(target)) taker = target;
  } else {
    // The first thread that would take it, starting where the last search ended.
    const auto start = std::find(tasks_.begin(), tasks_.end(), signal_target_);
    const size_t offset = start == tasks_.end() ? 0 : start - tasks_.begin();
    for (size_t i = 0; i < tasks_.size() && taker == nullptr; ++i) {
      const size_t at = i == 0 ? 0 : (offset + i) % tasks_.size();  // the main thread first
      if (wants(tasks_[at])) taker = tasks_[at];
    }
    if (taker == nullptr && wants(tasks_[offset])) taker = tasks_[offset];
    if (taker != nullptr) signal_target_ = taker;
  }
  if (taker == nullptr) return;
  const DefaultAction def = DefaultActionOf(signo);
  const bool fatal =
      signo == SIGKILL || (!taker->traced() && def == DefaultAction::kTerminate && handlers_->Get(signo).is_default());
  if (fatal) return BeginGroupExitLocked(signo);
  taker->KickLocked();
}

void ThreadGroup::LookAtFreezer() {
  MutexLock lock(sig_mu_);
  for (Task* task : tasks_) task->KickLocked();
}

void ThreadGroup::BeginGroupExit(int wait_status) {
  MutexLock lock(sig_mu_);
  BeginGroupExitLocked(wait_status);
}

void ThreadGroup::BeginGroupExitLocked(int wait_status) {
  if (exiting_.load()) return;
  exiting_.store(true);
  group_status_ = wait_status;
  stop_requested_ = stop_complete_ = false;
  for (Task* task : tasks_) {
    task->killed_.store(true);
    task->KickLocked();
  }
}

}  // namespace sandbox
