// Signal dispositions, shared by CLONE_SIGHAND (Linux: struct sighand_struct).
#pragma once

#include <array>

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/kernel/signal.h"

namespace sandbox {

class SignalHandlers {
 public:
  SignalHandlers() = default;
  SignalAction Get(int signo) const {
    MutexLock lock(mu_);
    return actions_[signo];
  }
  SignalAction Set(int signo, const SignalAction& action) {
    MutexLock lock(mu_);
    return std::exchange(actions_[signo], action);
  }
  // execve and CLONE_CLEAR_SIGHAND: caught signals become default, ignored ones stay.
  void ResetCaught() {
    MutexLock lock(mu_);
    for (SignalAction& action : actions_) {
      if (!action.is_ignore()) action = SignalAction{};
      action.flags = action.restorer = action.mask = 0;
    }
  }
  // Signals that have the default action with nothing else set; none once two processes share the actions.
  SignalSet untouched() const {
    MutexLock lock(mu_);
    SignalSet set = 0;
    for (int signo = 1; signo <= kSignalCount && !shared_; ++signo) {
      const SignalAction& action = actions_[signo];
      if (action.is_default() && action.flags == 0 && action.restorer == 0 && action.mask == 0) set |= SignalBit(signo);
    }
    return set;
  }
  void NoteShared() {
    MutexLock lock(mu_);
    shared_ = true;
  }
  RefPtr<SignalHandlers> Fork() const {
    auto copy = MakeRef<SignalHandlers>();
    MutexLock lock(mu_);
    copy->CopyFrom(actions_);
    return copy;
  }

 private:
  using Actions = std::array<SignalAction, kSignalCount + 1>;
  void CopyFrom(const Actions& actions) NO_THREAD_SAFETY_ANALYSIS { actions_ = actions; }  // not shared yet

  mutable Mutex mu_{LockRank::kTask};
  Actions actions_ GUARDED_BY(mu_) = {};
  bool shared_ GUARDED_BY(mu_) = false;  // between processes (CLONE_SIGHAND without CLONE_THREAD)
};

}  // namespace sandbox
