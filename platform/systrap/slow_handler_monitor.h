// Keeps one slow handler from holding up the other threads of its listener.
//
// A listener has one worker on duty, which serves traps itself: handing each to another thread would cost a wake-up
// per call. If its handler takes long without saying so (BeginBlock) - a large copy, host input and output, a contended
// lock - the others wait. So while a trap is served on a listener where somebody else may trap as well, this monitor
// looks once a tick, and sends a further worker if nobody has received in the meantime. It sleeps without limit when
// there is nothing to watch.
#pragma once

#include <pthread.h>

#include <vector>

#include "base/mutex.h"
#include "platform/systrap/listener.h"
#include "platform/systrap/worker.h"

namespace sandbox::platform::systrap {

class SlowHandlerMonitor {
 public:
  explicit SlowHandlerMonitor(WorkerPool& workers);
  ~SlowHandlerMonitor() { Shutdown(); }

  // Called by a listener that is not watched.
  void Watch(RefPtr<Listener> listener) EXCLUDES(mu_);
  void Shutdown() EXCLUDES(mu_);

 private:
  struct Watched {
    RefPtr<Listener> listener;
    int quiet_ticks = 0;
  };
  void Run();
  void Tick(std::vector<Watched>& all);

  WorkerPool& workers_;
  Mutex mu_{LockRank::kLeaf};
  std::vector<RefPtr<Listener>> added_ GUARDED_BY(mu_);
  bool stopping_ GUARDED_BY(mu_) = false;
  CondVar wake_;
  pthread_t thread_ = {};
  bool running_ = false;
};

}  // namespace sandbox::platform::systrap
