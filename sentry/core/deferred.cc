#include "sentry/core/deferred.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace sandbox {
namespace {

using Work = std::vector<std::function<void()>>;

thread_local bool runs_deferred = false;
thread_local Work pending;

// Serves the threads that are no task's: timers, host readiness.
class Runner {
 public:
  void Add(std::function<void()> work) {
    std::lock_guard<std::mutex> lock(mu_);
    queue_.push_back(std::move(work));
    if (!std::exchange(started_, true)) std::thread([this] { Run(); }).detach();
    added_.notify_one();
  }

 private:
  [[noreturn]] void Run() {
    for (;;) {
      Work batch;
      {
        std::unique_lock<std::mutex> lock(mu_);
        added_.wait(lock, [&] { return !queue_.empty(); });
        batch.swap(queue_);
      }
      for (auto& work : batch) work();
    }
  }

  std::mutex mu_;  // innermost: Add runs under any lock
  std::condition_variable added_;
  Work queue_;
  bool started_ = false;
};

Runner& TheRunner() {
  static auto& runner = *new Runner;  // its thread never ends
  return runner;
}

}  // namespace

void Defer(std::function<void()> work) {
  if (!runs_deferred) return TheRunner().Add(std::move(work));
  pending.push_back(std::move(work));
}

void RunDeferred() {
  while (!pending.empty()) {
    for (auto& work : std::exchange(pending, {})) work();
  }
}

DeferredScope::DeferredScope() : outermost_(!std::exchange(runs_deferred, true)) {}

DeferredScope::~DeferredScope() {
  if (!outermost_) return;
  RunDeferred();
  runs_deferred = false;
}

}  // namespace sandbox
