#include "platform/systrap/slow_handler_monitor.h"

#include <chrono>

namespace sandbox::platform::systrap {
namespace {

constexpr auto kTick = std::chrono::milliseconds(1);
// Long enough that a busy listener is not added and dropped all the time.
constexpr int kQuietTicks = 8;

}  // namespace

SlowHandlerMonitor::SlowHandlerMonitor(WorkerPool& workers) : workers_(workers) {
  const auto main = [](void* self) -> void* {
    static_cast<SlowHandlerMonitor*>(self)->Run();
    return nullptr;
  };
  CHECK(pthread_create(&thread_, nullptr, main, this) == 0);
  running_ = true;
}

void SlowHandlerMonitor::Watch(RefPtr<Listener> listener) {
  MutexLock lock(mu_);
  // While it ticks it sees the addition by itself.
  added_.push_back(std::move(listener));
  if (added_.size() == 1) wake_.NotifyOne();
}

void SlowHandlerMonitor::Run() {
  std::vector<Watched> watched;
  for (;;) {
    {
      MutexLock lock(mu_);
      while (watched.empty() && !stopping_ && added_.empty()) wake_.Wait(mu_);
      if (stopping_) return;
      for (RefPtr<Listener>& listener : added_) watched.push_back({std::move(listener)});
      added_.clear();
    }
    const timespec tick = {0, std::chrono::nanoseconds(kTick).count()};
    ::nanosleep(&tick, nullptr);
    Tick(watched);
  }
}

void SlowHandlerMonitor::Tick(std::vector<Watched>& all) {
  std::erase_if(all, [&](Watched& watched) {
    switch (watched.listener->CheckProgress()) {
      case Listener::Tick::kBusy:
        watched.quiet_ticks = 0;
        return false;
      case Listener::Tick::kStuck:
        watched.quiet_ticks = 0;
        workers_.Dispatch(watched.listener);
        return false;
      case Listener::Tick::kQuiet:
        break;
    }
    if (++watched.quiet_ticks < kQuietTicks) return false;
    watched.listener->StopWatching();
    return true;
  });
}

void SlowHandlerMonitor::Shutdown() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    wake_.NotifyOne();
  }
  if (running_) CHECK(pthread_join(thread_, nullptr) == 0);
  running_ = false;
}

}  // namespace sandbox::platform::systrap
