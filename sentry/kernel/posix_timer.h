// One POSIX timer (timer_create(2)). Private to this folder.
#pragma once

#include <signal.h>
#include <time.h>

#include <atomic>
#include <memory>

#include "base/result.h"
#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/thread_group.h"

namespace sandbox {

class PosixTimer : public std::enable_shared_from_this<PosixTimer> {
 public:
  // `event` null: SIGALRM to the process with the id as value. EINVAL, EOPNOTSUPP for clocks without timers.
  static Result<std::shared_ptr<PosixTimer>> Make(Task& task, int32_t id, clockid_t clock, const sigevent* event);
  ~PosixTimer();

  Result<IntervalTimer::Setting> Set(bool absolute, int64_t value_ns, int64_t interval_ns);
  IntervalTimer::Setting Get();
  // Expiries that the last signal taken stands for beyond the first.
  int overrun() const { return last_overrun_.load(); }
  void Disarm();
  int signo() const { return signo_; }
  int notify() const { return notify_; }
  int clock() const { return clock_; }
  uint64_t value() const { return value_; }

 private:
  PosixTimer(ThreadGroupRef group, int32_t id, clockid_t clock);
  void Expired(uint64_t expirations);

  const WeakRef<ThreadGroup> group_;
  const int32_t id_;
  const clockid_t clock_;
  int signo_ = SIGALRM;
  int notify_ = SIGEV_SIGNAL;
  uint64_t value_ = 0;
  int32_t target_tid_ = 0;           // SIGEV_THREAD_ID
  std::atomic<uint64_t> missed_{0};  // expiries since the queued signal's first
  std::atomic<int> last_overrun_{0};
  std::unique_ptr<IntervalTimer> real_;  // one of these two, by clock
  std::unique_ptr<CpuTimer> cpu_;
};

}  // namespace sandbox
