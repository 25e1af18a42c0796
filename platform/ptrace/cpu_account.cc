#include "platform/ptrace/cpu_account.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace sandbox::platform::ptrace {
namespace {

// include/linux/posix-timers_types.h: a process's CPU clock; CPUCLOCK_SCHED is nanosecond precise.
constexpr int kCpuClockSched = 2;
clockid_t ProcessClock(pid_t tgid) {
  return static_cast<clockid_t>((~static_cast<unsigned>(tgid) << 3) | kCpuClockSched);
}

}  // namespace

void CpuAccount::Settle() {
  timespec ts;
  if (clock_gettime(ProcessClock(tgid_), &ts) != 0) return;  // the process is gone
  const uint64_t now = static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(ts.tv_nsec);
  if (now <= seen_) return;
  const uint64_t delta = now - seen_;
  seen_ = now;
  if (running_.empty()) {
    // Spent on its way to a stop; it goes to whoever is there.
    if (!times_.empty()) times_.begin()->second += delta;
    return;
  }
  for (const pid_t tid : running_) times_[tid] += delta / running_.size();
}

void CpuAccount::Add(pid_t tid) {
  MutexLock lock(mu_);
  times_.emplace(tid, 0);
}

void CpuAccount::Remove(pid_t tid) {
  MutexLock lock(mu_);
  if (times_.size() > 1) Settle();
  times_.erase(tid);
  running_.erase(tid);
}

void CpuAccount::SetRunning(pid_t tid, bool running) {
  MutexLock lock(mu_);
  if (times_.size() > 1) Settle();
  if (running) {
    running_.insert(tid);
  } else {
    running_.erase(tid);
  }
}

uint64_t CpuAccount::TimeNs(pid_t tid) {
  MutexLock lock(mu_);
  Settle();
  const auto entry = times_.find(tid);
  return entry == times_.end() ? 0 : entry->second;
}

}  // namespace sandbox::platform::ptrace
