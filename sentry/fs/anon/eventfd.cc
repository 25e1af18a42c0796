#include "sentry/fs/anon/eventfd.h"

#include <algorithm>
#include <cstdio>

namespace sandbox {

EventFd::EventFd(uint32_t initial, bool semaphore, int flags)
    : AnonFile("[eventfd]", O_RDWR | (flags & O_NONBLOCK)), semaphore_(semaphore), count_(initial) {}

void EventFd::Signal(uint64_t count) {
  {
    MutexLock lock(mu_);
    count_ += std::min(count, ~uint64_t{0} - count_);  // write(2) stops one below: the top means overflow
  }
  wait_queue_.Notify(kReadable);
}

Result<size_t> EventFd::Read(Context&, IoSequence& to, int64_t*, int) {
  if (to.remaining() < sizeof(uint64_t)) return Err(EINVAL);
  uint64_t value;
  {
    MutexLock lock(mu_);
    if (count_ == 0) return Err(EAGAIN);
    value = semaphore_ ? 1 : count_;
    count_ -= value;
  }
  wait_queue_.Notify(kWritable);
  if (TRY(to.CopyOut(&value, sizeof(value))) != sizeof(value)) return Err(EFAULT);
  return sizeof(value);
}

Result<size_t> EventFd::Write(Context&, IoSequence& from, int64_t*, int) {
  uint64_t value;
  if (from.remaining() < sizeof(value)) return Err(EINVAL);
  if (TRY(from.PeekIn(&value, sizeof(value))) != sizeof(value)) return Err(EFAULT);
  if (value > kMax) return Err(EINVAL);
  {
    MutexLock lock(mu_);
    if (count_ > kMax || kMax - count_ < value) return Err(EAGAIN);
    count_ += value;
  }
  from.Advance(sizeof(value));
  wait_queue_.Notify(kReadable);
  return sizeof(value);
}

EventMask EventFd::Readiness(Context&, EventMask) {
  MutexLock lock(mu_);
  EventMask events = 0;
  if (count_ > 0) events |= kEventIn;
  if (count_ < kMax) events |= kEventOut;
  if (count_ > kMax) events |= kEventErr;
  return events;
}

std::string EventFd::FdInfo(Context&) {
  MutexLock lock(mu_);
  char line[64];
  std::snprintf(line, sizeof(line), "eventfd-count: %16llx\n", static_cast<unsigned long long>(count_));
  return line;
}

}  // namespace sandbox
