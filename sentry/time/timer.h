// Timers: one thread of the sentry sleeps until the earliest of all armed deadlines (Linux: hrtimers). Nothing runs
// while none is armed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/mutex.h"
#include "sentry/core/context.h"

namespace sandbox {

// One deadline. Arm and Cancel may be called with locks held (the service's lock is a leaf); the callback runs on the
// timer thread with no lock held and may arm its timer again.
class Timer {
 public:
  explicit Timer(std::function<void()> on_expiry);
  ~Timer();  // cancels, and waits for a callback that is running (unless called from it)
  Timer(const Timer&) = delete;

  void Arm(MonotonicTime when);
  void Cancel();  // a callback that has started may still be running when it returns

 private:
  friend class TimerService;
  struct State;
  std::shared_ptr<State> state_;
};

// A timer with an interval: what timerfd, setitimer and POSIX timers share (timer_settime(2)).
class IntervalTimer {
 public:
  struct Setting {
    int64_t remaining_ns = 0;  // until the next expiry; 0 = disarmed
    int64_t interval_ns = 0;   // 0 = one shot
  };

  // `on_expiry` gets the number of periods that passed since it last ran (>= 1).
  explicit IntervalTimer(std::function<void(uint64_t expirations)> on_expiry);
  ~IntervalTimer();

  // Arms for `first` (a time in the past fires at once) and every interval after it; nullopt disarms. Returns the old
  // setting.
  Setting Set(const Deadline& first, int64_t interval_ns);
  Setting Get() const;

 private:
  void Fire();
  Setting GetLocked() const REQUIRES(mu_);

  const std::function<void(uint64_t)> on_expiry_;
  mutable Mutex mu_{LockRank::kTimer};
  Deadline next_ GUARDED_BY(mu_);
  int64_t interval_ns_ GUARDED_BY(mu_) = 0;
  Timer timer_;
};

}  // namespace sandbox
