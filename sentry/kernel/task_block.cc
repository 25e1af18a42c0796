// How a task sleeps and is woken: one word per task. Wakers set bits; the sleeper takes all bits at once and looks at
// the reasons itself, so wake-ups are never lost and spurious ones are harmless. A sleeper has either left its sentry
// thread (task_defer.cc) or sleeps on it, in the host's futex.
#include "base/host_futex.h"
#include "sentry/core/deferred.h"
#include "sentry/kernel/cgroup.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/wake_word.h"
#include "sentry/time/timer.h"

namespace sandbox {

void Task::WakeFor(uint32_t reason) {
  const uint32_t before = wake_word_.fetch_or(reason);
  if (before == kDeferred) {
    ProceedLater();
  } else if ((before & kOnThread) && !(before & reason)) {
    HostFutexWake(wake_word_, 1);
  }
}

void Task::Wake() { WakeFor(kWoken); }

void Task::Kick() { WakeFor(kKicked); }

// Returns at once when the word no longer holds `expected`.
void Task::SleepOnThread(uint32_t expected, const Deadline& deadline) {
  uint32_t word = expected;
  if (!wake_word_.compare_exchange_strong(word, expected | kOnThread)) return;
  HostFutexWait(wake_word_, expected | kOnThread, deadline ? std::optional(deadline->ns) : std::nullopt);
  wake_word_.fetch_and(~kOnThread);
}

void Task::KickLocked() {
  signal_work_.store(true);
  Kick();
  // A task that serves a trap looks at signal_work_ before it resumes (HandleTrap stores in_guest_,
  // then looks).
  if (in_guest_.load() && thread_ != nullptr) thread_->Interrupt();
}

bool Task::Interrupted() const {
  return signal_work_.load() || killed_.load() || (raised_.load() & ~mask_.load()) != 0;
}

Result<void> Task::Block(const Deadline& deadline) { return BlockAs(Sleep::kInterruptible, deadline); }

Result<void> Task::BlockKillable(const Deadline& deadline) { return BlockAs(Sleep::kKillable, deadline); }

Result<void> Task::BlockAs(Sleep how, const Deadline& deadline) {
  RunDeferred();
  int64_t asleep_since = 0;
  bool deferred = false;
  Result<void> result;
  for (;;) {
    const uint32_t bits = wake_word_.exchange(0);
    if (bits & kWoken) break;
    if (how == Sleep::kKillable ? killed_.load() : Interrupted()) {
      result = Err(kErestartsys);
      break;
    }
    if (deadline && deadline->ns <= MonotonicNow().ns) {
      result = Err(ETIMEDOUT);
      break;
    }
    if (asleep_since == 0) {
      asleep_since = MonotonicNow().ns;
      sleep_state_.store('S');
      switches_.fetch_add(1);
      deferred = BeginDeferred(deadline);
      if (!deferred && serving_trap_) {
        thread_->BeginBlock();
        HandOnWoken();
      }
    }
    if (deferred) {
      coroutine_->Suspend();
    } else {
      SleepOnThread(0, deadline);
    }
  }
  if (asleep_since != 0) {
    if (deferred && deadline) wait_timer_->Cancel();
    if (serving_trap_) thread_->EndBlock();
    sleep_state_.store('R');
    slept_ns_ += MonotonicNow().ns - asleep_since;
  }
  return result;
}

void Task::TakeKicks(StopSleep& sleep) { sleep.owed |= wake_word_.exchange(0) & kWoken; }

void Task::SleepInStop(StopSleep& sleep) {
  if (!std::exchange(sleep.asleep, true)) {
    RunDeferred();
    sleep.deferred = BeginDeferred(std::nullopt);
    if (!sleep.deferred) thread_->BeginBlock();
  }
  if (sleep.deferred) return coroutine_->Suspend();
  HandOnWoken();
  SleepOnThread(0, std::nullopt);
}

void Task::RiseFromStop(StopSleep& sleep) {
  if (std::exchange(sleep.asleep, false)) thread_->EndBlock();
}

void Task::EndStop(StopSleep& sleep) {
  RiseFromStop(sleep);
  if (sleep.owed != 0) wake_word_.fetch_or(sleep.owed);
}

void Task::FreezeHere() {
  Cgroup& cgroup = group_->cgroup();
  while (cgroup.frozen() && !killed_.load()) {
    sleep_state_.store('S');
    cgroup.Arrived();
    (void)BlockKillable(std::nullopt);
  }
}

void Task::StopHere() {
  bool notify = false;
  int signo;
  {
    MutexLock lock(group_->sig_mu_);
    if (!group_->stop_requested_ || stop_waived_ || killed_.load()) return;
    signo = group_->stop_signal_;
    if (!std::exchange(stop_joined_, true)) {
      group_->ThreadStoppedLocked();
      notify = group_->stop_complete_;
    }
  }
  if (notify) group_->NotifyParentOfJobControl(CLD_STOPPED, signo);
  if (traced()) return TracedGroupStop(signo);
  const int64_t since = MonotonicNow().ns;
  sleep_state_.store('T');
  for (StopSleep sleep;; SleepInStop(sleep)) {
    TakeKicks(sleep);
    bool over;
    {
      MutexLock lock(group_->sig_mu_);
      over = !stop_joined_ || killed_.load() || traced();
    }
    if (!over) continue;
    EndStop(sleep);
    break;
  }
  sleep_state_.store('R');
  slept_ns_ += MonotonicNow().ns - since;
  // Attached to while it was stopped.
  if (traced() && !killed_.load()) TracedGroupStop(signo);
}

}  // namespace sandbox
