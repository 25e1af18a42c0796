// timerfd_create(2): a timer whose expirations are read (Linux: fs/timerfd.c).
#pragma once

#include <time.h>

#include "sentry/time/timer.h"
#include "sentry/vfs/anon_file.h"

namespace sandbox {

class TimerFd final : public AnonFile {
 public:
  TimerFd(clockid_t clock, int flags);

  // timerfd_settime(2). `flags`: TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET. Returns the old setting.
  Result<itimerspec> Set(int flags, const itimerspec& setting);
  itimerspec Get() const;

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &wait_queue_; }
  std::string FdInfo(Context& context) override;

 private:
  const clockid_t clock_;
  std::atomic<uint64_t> ticks_{0};
  std::atomic<int> set_flags_{0};
  WaitQueue wait_queue_;
  IntervalTimer timer_;  // last: its callback uses the rest
};

}  // namespace sandbox
