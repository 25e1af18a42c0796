// Sentry threads that serve traps. One is made whenever none is idle, so that a trap never waits for another task;
// the one that went idle last is used first, as its stack and caches are warm.
#pragma once

#include <vector>

#include "base/mutex.h"
#include "platform/ptrace/tracee.h"

namespace sandbox::platform::ptrace {

class WorkerPool {
 public:
  using Serve = std::function<void(const RefPtr<Tracee>&)>;
  WorkerPool() : mu_(LockRank::kLeaf) {}
  ~WorkerPool();  // waits until every worker is idle and ends it

  // Called once, before the first Post.
  void SetServe(Serve serve) { serve_ = std::move(serve); }
  void Post(RefPtr<Tracee> tracee);

 private:
  struct Worker {
    Event wake;
    RefPtr<Tracee> work;
  };
  static void* ThreadMain(void* pool);
  void WorkerMain();
  void Spawn();

  Serve serve_;
  Mutex mu_;
  CondVar ended_;
  std::vector<Worker*> idle_ GUARDED_BY(mu_);
  std::vector<RefPtr<Tracee>> unclaimed_ GUARDED_BY(mu_);  // for workers that are being started
  int count_ GUARDED_BY(mu_) = 0;
  bool stopping_ GUARDED_BY(mu_) = false;
};

}  // namespace sandbox::platform::ptrace
