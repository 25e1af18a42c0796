#include "sentry/fs/anon/timerfd.h"

#include <sys/ioctl.h>
#include <sys/timerfd.h>

#include <cstdio>

#include "sentry/time/clock.h"

namespace sandbox {
namespace {

itimerspec ToSpec(const IntervalTimer::Setting& setting) {
  return {ToTimespec(setting.interval_ns), ToTimespec(setting.remaining_ns)};
}

}  // namespace

TimerFd::TimerFd(clockid_t clock, int flags)
    : AnonFile("[timerfd]", O_RDWR | (flags & O_NONBLOCK)), clock_(clock), timer_([this](uint64_t expirations) {
        ticks_.fetch_add(expirations);
        wait_queue_.Notify(kReadable);
      }) {}

Result<itimerspec> TimerFd::Set(int flags, const itimerspec& setting) {
  if (!ValidTimespec(setting.it_value) || !ValidTimespec(setting.it_interval)) return Err(EINVAL);
  Deadline first;
  const int64_t value = ToNs(setting.it_value);
  if (value != 0) first = flags & TFD_TIMER_ABSTIME ? TRY(DeadlineOn(clock_, value)) : DeadlineAfter(value);
  // Disarmed first, so that an expiry of the old setting is not counted for the new one.
  const auto old = timer_.Set({}, 0);
  ticks_.store(0);
  set_flags_.store(flags);
  if (first) timer_.Set(first, ToNs(setting.it_interval));
  return ToSpec(old);
}

itimerspec TimerFd::Get() const { return ToSpec(timer_.Get()); }

Result<size_t> TimerFd::Read(Context&, IoSequence& to, int64_t*, int) {
  uint64_t ticks;
  if (to.remaining() < sizeof(ticks)) return Err(EINVAL);
  ticks = ticks_.exchange(0);
  if (ticks == 0) return Err(EAGAIN);
  if (TRY(to.CopyOut(&ticks, sizeof(ticks))) != sizeof(ticks)) return Err(EFAULT);
  return sizeof(ticks);
}

// TFD_IOC_SET_TICKS, for checkpoint tools (timerfd_create(2)).
Result<int64_t> TimerFd::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  if (request != _IOW('T', 0, uint64_t)) return Err(ENOTTY);
  const uint64_t ticks = TRY(InPtr<uint64_t>(GuestAddr(argument)).Read(context.memory()));
  if (ticks == 0) return Err(EINVAL);
  ticks_.store(ticks);
  wait_queue_.Notify(kReadable);
  return 0;
}

EventMask TimerFd::Readiness(Context&, EventMask) { return ticks_.load() > 0 ? kReadable : 0; }

std::string TimerFd::FdInfo(Context&) {
  const itimerspec now = Get();
  char text[256];
  std::snprintf(text, sizeof(text),
                "clockid: %d\nticks: %llu\nsettime flags: 0%o\nit_value: (%lld, %ld)\nit_interval: (%lld, %ld)\n",
                clock_, static_cast<unsigned long long>(ticks_.load()), set_flags_.load(),
                static_cast<long long>(now.it_value.tv_sec), now.it_value.tv_nsec,
                static_cast<long long>(now.it_interval.tv_sec), now.it_interval.tv_nsec);
  return text;
}

}  // namespace sandbox
