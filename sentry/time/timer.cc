#include "sentry/time/timer.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <thread>

namespace sandbox {

// Shared between a Timer and the service, so that a callback outlives neither. Guarded by the service's lock.
struct Timer::State {
  std::function<void()> on_expiry;
  std::multimap<int64_t, std::shared_ptr<State>>::iterator position;
  bool armed = false;
  bool running = false;
};

// The timer thread. Started by the first Arm, because the process forks platforms before that; never ends.
class TimerService {
 public:
  static TimerService& Get() {
    static TimerService& service = *new TimerService;  // outlives every timer
    return service;
  }

  void Arm(const std::shared_ptr<Timer::State>& state, int64_t when) {
    std::lock_guard<std::mutex> lock(mu_);
    if (!started_) {
      started_ = true;
      std::thread([this] { Run(); }).detach();
    }
    RemoveLocked(*state);
    state->position = queue_.emplace(when, state);
    state->armed = true;
    // Deadlines that are armed and cancelled all the time (epoll_wait) cost no wake-up each.
    if (when < asleep_until_) changed_.notify_one();
  }

  void Cancel(Timer::State& state) {
    std::lock_guard<std::mutex> lock(mu_);
    RemoveLocked(state);
  }

  void CancelAndWait(Timer::State& state) {
    std::unique_lock<std::mutex> lock(mu_);
    RemoveLocked(state);
    if (std::this_thread::get_id() == thread_) return;
    done_.wait(lock, [&state] { return !state.running; });
    RemoveLocked(state);  // the callback may have armed it again
  }

 private:
  void RemoveLocked(Timer::State& state) {
    if (!state.armed) return;
    queue_.erase(state.position);
    state.armed = false;
  }

  void Run() {
    std::unique_lock<std::mutex> lock(mu_);
    thread_ = std::this_thread::get_id();
    for (;;) {
      if (queue_.empty()) {
        asleep_until_ = INT64_MAX;
        changed_.wait(lock);
        continue;
      }
      const int64_t when = queue_.begin()->first;
      if (when > MonotonicNow().ns) {
        asleep_until_ = when;
        changed_.wait_until(lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(when)));
        continue;
      }
      const std::shared_ptr<Timer::State> state = queue_.begin()->second;
      RemoveLocked(*state);
      state->running = true;
      lock.unlock();
      state->on_expiry();
      lock.lock();
      state->running = false;
      done_.notify_all();
    }
  }

  std::mutex mu_;
  std::condition_variable changed_, done_;
  std::multimap<int64_t, std::shared_ptr<Timer::State>> queue_;
  std::thread::id thread_;
  int64_t asleep_until_ = INT64_MAX;  // what the thread last went to sleep for
  bool started_ = false;
};

Timer::Timer(std::function<void()> on_expiry) : state_(std::make_shared<State>()) {
  state_->on_expiry = std::move(on_expiry);
}

Timer::~Timer() { TimerService::Get().CancelAndWait(*state_); }

void Timer::Arm(MonotonicTime when) { TimerService::Get().Arm(state_, when.ns); }

void Timer::Cancel() { TimerService::Get().Cancel(*state_); }

IntervalTimer::IntervalTimer(std::function<void(uint64_t)> on_expiry)
    : on_expiry_(std::move(on_expiry)), timer_([this] { Fire(); }) {}

IntervalTimer::~IntervalTimer() {
  MutexLock lock(mu_);
  next_.reset();
  timer_.Cancel();
}

IntervalTimer::Setting IntervalTimer::Set(const Deadline& first, int64_t interval_ns) {
  MutexLock lock(mu_);
  const Setting old = GetLocked();
  next_ = first;
  interval_ns_ = first ? interval_ns : 0;
  if (first) {
    timer_.Arm(*first);
  } else {
    timer_.Cancel();
  }
  return old;
}

IntervalTimer::Setting IntervalTimer::Get() const {
  MutexLock lock(mu_);
  return GetLocked();
}

IntervalTimer::Setting IntervalTimer::GetLocked() const {
  if (!next_) return {};
  // An armed timer never reads as zero, which would mean disarmed.
  return {std::max<int64_t>(next_->ns - MonotonicNow().ns, 1), interval_ns_};
}

void IntervalTimer::Fire() {
  uint64_t expirations = 1;
  {
    MutexLock lock(mu_);
    const int64_t now = MonotonicNow().ns;
    if (!next_ || next_->ns > now) return;  // set anew meanwhile
    if (interval_ns_ == 0) {
      next_.reset();
    } else {
      expirations += (now - next_->ns) / interval_ns_;
      next_ = MonotonicTime{next_->ns + static_cast<int64_t>(expirations) * interval_ns_};
      timer_.Arm(*next_);
    }
  }
  on_expiry_(expirations);
}

}  // namespace sandbox
