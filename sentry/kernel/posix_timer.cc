#include "sentry/kernel/posix_timer.h"

#include <algorithm>
#include <climits>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"

namespace sandbox {
namespace {

// clockid_t of a CPU clock: ~pid << 3 | per-thread flag 4 | kind (Linux: posix-timers.h).
constexpr int kPerThread = 4;
constexpr int kKindMask = 3;
constexpr int kKindUser = 1;  // CPUCLOCK_VIRT

struct ClockTarget {
  ThreadGroupRef group;
  TaskRef task;  // null = the whole group
  bool user_only = false;
};

Result<ClockTarget> Resolve(Task& task, clockid_t clock) {
  ClockTarget target{task.group().shared_from_this(), nullptr};
  if (clock == CLOCK_PROCESS_CPUTIME_ID) return target;
  if (clock == CLOCK_THREAD_CPUTIME_ID) {
    target.task = task.shared_from_this();
    return target;
  }
  const int32_t pid = ~(clock >> 3);
  if ((clock & kKindMask) == kKindMask) return Err(EINVAL);
  target.user_only = (clock & kKindMask) == kKindUser;
  if (clock & kPerThread) {
    target.task = pid == 0 ? task.shared_from_this() : task.kernel().FindTask(pid);
    if (target.task == nullptr || &target.task->group() != &task.group()) return Err(EINVAL);
    return target;
  }
  if (pid != 0) target.group = task.kernel().FindGroup(pid);
  if (target.group == nullptr) return Err(EINVAL);
  return target;
}

uint64_t Now(const ClockTarget& target) {
  const Usage usage = target.task != nullptr ? target.task->usage() : target.group->usage();
  return usage.user_ns + (target.user_only ? 0 : usage.system_ns);
}

}  // namespace

bool IsCpuClock(clockid_t clock) {
  return clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID || clock < 0;
}

Result<uint64_t> ReadCpuClockNs(Task& task, clockid_t clock) { return Now(TRY(Resolve(task, clock))); }

PosixTimer::PosixTimer(ThreadGroupRef group, int32_t id, clockid_t clock) : group_(group), id_(id), clock_(clock) {}

PosixTimer::~PosixTimer() = default;

Result<std::shared_ptr<PosixTimer>> PosixTimer::Make(Task& task, int32_t id, clockid_t clock, const sigevent* event) {
  std::shared_ptr<PosixTimer> timer(new PosixTimer(task.group().shared_from_this(), id, clock));
  timer->value_ = static_cast<uint32_t>(id);
  if (event != nullptr) {
    timer->notify_ = event->sigev_notify;
    timer->signo_ = event->sigev_signo;
    timer->value_ = reinterpret_cast<uint64_t>(event->sigev_value.sival_ptr);
    switch (event->sigev_notify) {
      case SIGEV_NONE:
        timer->signo_ = 0;
        break;
      case SIGEV_THREAD_ID: {
        timer->target_tid_ = event->_sigev_un._tid;
        const TaskRef target = task.kernel().FindTask(timer->target_tid_);
        if (target == nullptr || &target->group() != &task.group()) return Err(EINVAL);
        [[fallthrough]];
      }
      case SIGEV_SIGNAL:
      case SIGEV_THREAD:
        if (!ValidSignal(timer->signo_)) return Err(EINVAL);
        break;
      default:
        return Err(EINVAL);
    }
  }
  const auto fire = [weak = std::weak_ptr<PosixTimer>(timer)](uint64_t n) {
    if (const auto self = weak.lock()) self->Expired(n);
  };
  if (IsCpuClock(clock)) {
    const ClockTarget target = TRY(Resolve(task, clock));
    // Weak: a timer must not keep the process it measures.
    const auto now = [group = WeakRef<ThreadGroup>(target.group), thread = WeakRef<Task>(target.task),
                      per_thread = target.task != nullptr, user = target.user_only]() -> uint64_t {
      const ClockTarget live{group.lock(), thread.lock(), user};
      if (live.group == nullptr || (per_thread && live.task == nullptr)) return 0;
      return Now(live);
    };
    const auto threads = [group = WeakRef<ThreadGroup>(target.group)] {
      const ThreadGroupRef live = group.lock();
      return live == nullptr ? 1 : live->thread_count();
    };
    timer->cpu_ = std::make_unique<CpuTimer>(now, threads, fire);
    return timer;
  }
  // The alarm clocks need a clock of the machine's that runs while it sleeps, which there is none of.
  if (clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM) return Err(EOPNOTSUPP);
  if (!ReadClockNs(clock).ok()) return Err(EINVAL);
  if (clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE) {
    return Err(EOPNOTSUPP);
  }
  timer->real_ = std::make_unique<IntervalTimer>(fire);
  return timer;
}

Result<IntervalTimer::Setting> PosixTimer::Set(bool absolute, int64_t value_ns, int64_t interval_ns) {
  missed_.store(0);
  last_overrun_.store(0);
  if (const ThreadGroupRef group = group_.lock()) group->DiscardTimerSignal(this);
  if (cpu_ != nullptr) return cpu_->Set(value_ns, interval_ns, absolute);
  if (value_ns == 0) return real_->Set(std::nullopt, 0);
  const MonotonicTime first = absolute ? TRY(DeadlineOn(clock_, value_ns)) : DeadlineAfter(value_ns);
  return real_->Set(first, interval_ns);
}

IntervalTimer::Setting PosixTimer::Get() { return cpu_ != nullptr ? cpu_->Get() : real_->Get(); }

void PosixTimer::Disarm() {
  if (cpu_ != nullptr) cpu_->Set(0, 0, true);
  if (real_ != nullptr) real_->Set(std::nullopt, 0);
  if (const ThreadGroupRef group = group_.lock()) group->DiscardTimerSignal(this);
}

void PosixTimer::Expired(uint64_t expirations) {
  const ThreadGroupRef group = group_.lock();
  if (group == nullptr || signo_ == 0) return;
  const TaskRef target = target_tid_ != 0 ? group->kernel().FindTask(target_tid_) : nullptr;
  if (target_tid_ != 0 && (target == nullptr || &target->group() != group.get())) return;
  QueuedSignal signal;
  signal.info.signo = signo_;
  signal.info.code = SI_TIMER;
  signal.info.timer.timer = id_;
  signal.info.timer.value = value_;
  signal.timer = this;
  // The overrun is known when the signal is taken: what expired while it waited.
  signal.before_delivery = [weak = weak_from_this()](QueuedSignal& taken) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    const int overrun = static_cast<int>(std::min<uint64_t>(self->missed_.exchange(0), INT_MAX));
    self->last_overrun_.store(overrun);
    taken.info.timer.overrun = overrun;
  };
  const auto sent = group->SendTimerSignal(target.get(), signal);
  missed_.fetch_add(sent.Is(EBUSY) ? expirations : expirations - 1);
}

}  // namespace sandbox
