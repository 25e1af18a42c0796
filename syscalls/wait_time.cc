#include "syscalls/wait_time.h"

#include <algorithm>
#include <limits>

namespace sandbox::syscalls {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

int64_t RemainingNs(const Deadline& deadline) {
  return deadline ? std::max<int64_t>(0, deadline->ns - MonotonicNow().ns) : 0;
}

}  // namespace

Deadline DeadlineAfter(int64_t ns) {
  const int64_t now = MonotonicNow().ns;
  return MonotonicTime{ns > std::numeric_limits<int64_t>::max() - now ? std::numeric_limits<int64_t>::max() : now + ns};
}

Result<int64_t> TimespecToNs(const timespec& time) {
  if (time.tv_sec < 0 || time.tv_nsec < 0 || time.tv_nsec >= kNsPerSecond) return Err(EINVAL);
  if (time.tv_sec >= std::numeric_limits<int64_t>::max() / kNsPerSecond) return std::numeric_limits<int64_t>::max();
  return time.tv_sec * kNsPerSecond + time.tv_nsec;
}

Result<Deadline> ReadDeadline(Task& task, GuestAddr timespec_ptr) {
  if (timespec_ptr.IsNull()) return Deadline{};
  const auto time = TRY(InPtr<timespec>(timespec_ptr).Read(task.memory()));
  return DeadlineAfter(TRY(TimespecToNs(time)));
}

void WriteRemainingTimespec(Task& task, GuestAddr to, const Deadline& deadline) {
  if (to.IsNull()) return;
  const int64_t left = RemainingNs(deadline);
  (void)OutPtr<timespec>(to).Write(task.memory(), {left / kNsPerSecond, left % kNsPerSecond});
}

void WriteRemainingTimeval(Task& task, GuestAddr to, const Deadline& deadline) {
  if (to.IsNull()) return;
  const int64_t left = RemainingNs(deadline);
  (void)OutPtr<timeval>(to).Write(task.memory(), {left / kNsPerSecond, left % kNsPerSecond / 1000});
}

Result<void> ApplyWaitMask(Task& task, GuestAddr set, uint64_t size) {
  if (set.IsNull()) return {};
  if (size != sizeof(uint64_t)) return Err(EINVAL);
  const uint64_t mask = TRY(InPtr<uint64_t>(set).Read(task.memory()));
  (void)mask;
  return {};
}

}  // namespace sandbox::syscalls
