#include "sentry/kernel/process_timers.h"

#include <sys/resource.h>

#include <algorithm>

#include "sentry/kernel/posix_timer.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/thread_group.h"
#include "sentry/time/clock.h"

namespace sandbox {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

}  // namespace

CpuTimer::CpuTimer(std::function<uint64_t()> now, std::function<int()> threads, std::function<void(uint64_t)> on_expiry)
    : now_(std::move(now)),
      threads_(std::move(threads)),
      on_expiry_(std::move(on_expiry)),
      timer_([this] { Check(); }) {}

IntervalTimer::Setting CpuTimer::GetLocked(uint64_t now) const {
  if (next_ns_ == 0) return {};
  return {next_ns_ > now ? static_cast<int64_t>(next_ns_ - now) : 1, interval_ns_};
}

IntervalTimer::Setting CpuTimer::Get() {
  const uint64_t now = now_();
  MutexLock lock(mu_);
  return GetLocked(now);
}

IntervalTimer::Setting CpuTimer::Set(uint64_t first_ns, int64_t interval_ns, bool absolute) {
  const uint64_t now = now_();
  const int threads = threads_();
  MutexLock lock(mu_);
  const IntervalTimer::Setting old = GetLocked(now);
  next_ns_ = first_ns == 0 || absolute ? first_ns : now + first_ns;
  interval_ns_ = interval_ns;
  if (next_ns_ == 0) {
    timer_.Cancel();
  } else {
    ArmLocked(now, threads);
  }
  return old;
}

void CpuTimer::ArmLocked(uint64_t now, int threads) {
  // All threads could run at once; a process that sleeps is looked at seldom.
  constexpr int64_t kFinest = 1'000'000;
  const int64_t left = next_ns_ > now ? static_cast<int64_t>(next_ns_ - now) : 0;
  timer_.Arm(DeadlineAfter(std::max(left / std::max(threads, 1), kFinest)));
}

void CpuTimer::Check() {
  const uint64_t now = now_();
  const int threads = threads_();
  uint64_t expirations = 0;
  {
    MutexLock lock(mu_);
    if (next_ns_ == 0) return;
    if (now >= next_ns_) {
      expirations = 1;
      if (interval_ns_ == 0) {
        next_ns_ = 0;
      } else {
        expirations += (now - next_ns_) / interval_ns_;
        next_ns_ += expirations * interval_ns_;
      }
    }
    if (next_ns_ != 0) ArmLocked(now, threads);
  }
  if (expirations > 0) on_expiry_(expirations);
}

ProcessTimers::ProcessTimers(ThreadGroup& group)
    : group_(group),
      real_([&group](uint64_t) { (void)group.SendSignal(SignalInfo::Kernel(SIGALRM), SignalOrigin::kKernel); }) {
  const auto threads = [&group] { return group.thread_count(); };
  const auto send = [&group](int signo) {
    return [&group, signo](uint64_t) { (void)group.SendSignal(SignalInfo::Kernel(signo), SignalOrigin::kKernel); };
  };
  virtual_ = std::make_unique<CpuTimer>([&group] { return group.usage().user_ns; }, threads, send(SIGVTALRM));
  profiling_ = std::make_unique<CpuTimer>([&group] { return group.cpu_time_ns(); }, threads, send(SIGPROF));
  limit_ = std::make_unique<CpuTimer>(
      [&group] { return group.cpu_time_ns(); }, threads,
      [&group](uint64_t) {
        const Limit limit = group.limits().Get(RLIMIT_CPU);
        const bool over = limit.hard != RLIM_INFINITY && group.cpu_time_ns() >= limit.hard * kNsPerSecond;
        (void)group.SendSignal(SignalInfo::Kernel(over ? SIGKILL : SIGXCPU), SignalOrigin::kKernel);
      });
}

ProcessTimers::~ProcessTimers() = default;

IntervalTimer::Setting ProcessTimers::SetInterval(int which, IntervalTimer::Setting setting) {
  if (which == ITIMER_REAL) {
    const Deadline first = setting.remaining_ns > 0 ? Deadline(DeadlineAfter(setting.remaining_ns)) : std::nullopt;
    return real_.Set(first, setting.interval_ns);
  }
  CpuTimer& timer = which == ITIMER_VIRTUAL ? *virtual_ : *profiling_;
  return timer.Set(setting.remaining_ns, setting.interval_ns, false);
}

IntervalTimer::Setting ProcessTimers::GetInterval(int which) {
  if (which == ITIMER_REAL) return real_.Get();
  return which == ITIMER_VIRTUAL ? virtual_->Get() : profiling_->Get();
}

void ProcessTimers::FollowCpuLimit() {
  const Limit limit = group_.limits().Get(RLIMIT_CPU);
  if (limit.soft == RLIM_INFINITY) {
    limit_->Set(0, 0, true);
  } else {
    limit_->Set(std::max<uint64_t>(limit.soft, 1) * kNsPerSecond, kNsPerSecond, true);
  }
}

std::shared_ptr<PosixTimer> ProcessTimers::Find(int32_t id) const {
  MutexLock lock(mu_);
  const auto found = posix_.find(id);
  return found == posix_.end() ? nullptr : found->second;
}

Result<int32_t> ProcessTimers::Create(Task& task, clockid_t clock, const sigevent* event) {
  int32_t id;
  {
    MutexLock lock(mu_);
    if (posix_.size() >= group_.limits().soft(RLIMIT_SIGPENDING)) return Err(EAGAIN);
    do {
      id = next_id_;
      next_id_ = (next_id_ + 1) & 0x7fffffff;
    } while (posix_.contains(id));
    posix_[id] = nullptr;
  }
  auto timer = PosixTimer::Make(task, id, clock, event);
  MutexLock lock(mu_);
  if (!timer.ok()) {
    posix_.erase(id);
    return timer.error();
  }
  posix_[id] = *timer;
  return id;
}

Result<IntervalTimer::Setting> ProcessTimers::SetTime(int32_t id, bool absolute, int64_t value_ns,
                                                      int64_t interval_ns) {
  const auto timer = Find(id);
  if (timer == nullptr) return Err(EINVAL);
  return timer->Set(absolute, value_ns, interval_ns);
}

Result<IntervalTimer::Setting> ProcessTimers::GetTime(int32_t id) {
  const auto timer = Find(id);
  if (timer == nullptr) return Err(EINVAL);
  return timer->Get();
}

Result<int> ProcessTimers::Overrun(int32_t id) {
  const auto timer = Find(id);
  if (timer == nullptr) return Err(EINVAL);
  return timer->overrun();
}

Result<void> ProcessTimers::Delete(int32_t id) {
  std::shared_ptr<PosixTimer> timer;
  {
    MutexLock lock(mu_);
    const auto found = posix_.find(id);
    if (found == posix_.end() || found->second == nullptr) return Err(EINVAL);
    timer = std::move(found->second);
    posix_.erase(found);
  }
  timer->Disarm();
  return {};
}

void ProcessTimers::DeletePosixTimers() {
  std::map<int32_t, std::shared_ptr<PosixTimer>> doomed;
  {
    MutexLock lock(mu_);
    doomed.swap(posix_);
  }
  for (auto& [id, timer] : doomed) {
    if (timer != nullptr) timer->Disarm();
  }
}

void ProcessTimers::CancelAll() {
  DeletePosixTimers();
  real_.Set(std::nullopt, 0);
  for (CpuTimer* timer : {virtual_.get(), profiling_.get(), limit_.get()}) timer->Set(0, 0, true);
}

std::vector<ProcessTimers::Description> ProcessTimers::List() const {
  std::vector<Description> out;
  MutexLock lock(mu_);
  for (const auto& [id, timer] : posix_) {
    if (timer != nullptr) out.push_back({id, timer->signo(), timer->notify(), timer->clock(), timer->value()});
  }
  return out;
}

}  // namespace sandbox
