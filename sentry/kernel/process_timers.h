// Timers of a process: setitimer(2) and timer_create(2) (Linux: kernel/time/itimer.c, posix-timers.c).
#pragma once

#include <sys/time.h>
#include <time.h>

#include <array>
#include <map>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "base/result.h"
#include "sentry/kernel/signal.h"
#include "sentry/time/timer.h"

namespace sandbox {

class Task;
class ThreadGroup;

// Clocks a timer may follow besides the system-wide ones: CPU time of a group or of one of its threads.
struct CpuClock {
  int32_t tid = 0;  // 0 = the whole group
};

// A timer on CPU time. Nothing interrupts us when a host thread has used so much, so the clock is looked at when it
// could have got there at the earliest; only while armed.
class CpuTimer {
 public:
  CpuTimer(std::function<uint64_t()> now, std::function<int()> threads, std::function<void(uint64_t)> on_expiry);
  IntervalTimer::Setting Set(uint64_t first_ns, int64_t interval_ns, bool absolute);  // 0 disarms
  IntervalTimer::Setting Get();

 private:
  void Check();
  void ArmLocked(uint64_t now, int threads) REQUIRES(mu_);
  IntervalTimer::Setting GetLocked(uint64_t now) const REQUIRES(mu_);

  const std::function<uint64_t()> now_;  // these two take the group's locks: never called with mu_ held
  const std::function<int()> threads_;
  const std::function<void(uint64_t)> on_expiry_;
  Mutex mu_{LockRank::kTimer};
  uint64_t next_ns_ GUARDED_BY(mu_) = 0;
  int64_t interval_ns_ GUARDED_BY(mu_) = 0;
  Timer timer_;
};

class PosixTimer;

class ProcessTimers {
 public:
  explicit ProcessTimers(ThreadGroup& group);
  ~ProcessTimers();

  // setitimer(2), getitimer(2), alarm(2). `which`: ITIMER_*, checked by the caller.
  IntervalTimer::Setting SetInterval(int which, IntervalTimer::Setting setting);
  IntervalTimer::Setting GetInterval(int which);
  // RLIMIT_CPU: SIGXCPU at the soft limit and each second after it, SIGKILL at the hard one.
  void FollowCpuLimit();

  // POSIX timers. EINVAL for unknown ids.
  Result<int32_t> Create(Task& task, clockid_t clock, const sigevent* event);
  Result<IntervalTimer::Setting> SetTime(int32_t id, bool absolute, int64_t value_ns, int64_t interval_ns);
  Result<IntervalTimer::Setting> GetTime(int32_t id);
  Result<int> Overrun(int32_t id);
  Result<void> Delete(int32_t id);
  // exec deletes them; exit cancels everything.
  void DeletePosixTimers();
  void CancelAll();
  struct Description {
    int32_t id;
    int signo, notify, clock;
    uint64_t value;
  };
  std::vector<Description> List() const;  // /proc/*/timers

 private:
  std::shared_ptr<PosixTimer> Find(int32_t id) const;

  ThreadGroup& group_;
  IntervalTimer real_;
  std::unique_ptr<CpuTimer> virtual_, profiling_, limit_;
  mutable Mutex mu_{LockRank::kLeaf};
  std::map<int32_t, std::shared_ptr<PosixTimer>> posix_ GUARDED_BY(mu_);
  int32_t next_id_ GUARDED_BY(mu_) = 0;
};

// The CPU clock a clockid names, for the caller's own group or another process or thread (clock_getcpuclockid(3)).
// EINVAL for ids that name nobody.
Result<uint64_t> ReadCpuClockNs(Task& task, clockid_t clock);
bool IsCpuClock(clockid_t clock);

}  // namespace sandbox
