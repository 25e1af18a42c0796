// Host CPU time per guest thread. The host tells another process's total only (clock_gettime of a process clock;
// thread clocks are readable inside the group alone, and /proc is out of reach), so each advance of the total is split
// evenly among the threads that ran during it: exact for single threads, and always summing up to the truth.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>

#include "base/mutex.h"

namespace sandbox::platform::ptrace {

class CpuAccount {
 public:
  explicit CpuAccount(pid_t tgid) : tgid_(tgid), mu_(LockRank::kLeaf) {}
  void Add(pid_t tid);
  void Remove(pid_t tid);
  void SetRunning(pid_t tid, bool running);
  uint64_t TimeNs(pid_t tid);

 private:
  void Settle() REQUIRES(mu_);

  const pid_t tgid_;
  Mutex mu_;
  uint64_t seen_ GUARDED_BY(mu_) = 0;
  std::map<pid_t, uint64_t> times_ GUARDED_BY(mu_);
  std::set<pid_t> running_ GUARDED_BY(mu_);
};

}  // namespace sandbox::platform::ptrace
