#include "syscalls/wait_time.h"

#include <algorithm>

namespace sandbox::syscalls {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

int64_t RemainingNs(const Deadline& deadline) {
  return deadline ? std::max<int64_t>(0, deadline->ns - MonotonicNow().ns) : 0;
}

}  // namespace

Result<int64_t> TimespecToNs(const timespec& time) {
  if (!ValidTimespec(time)) return Err(EINVAL);
  return ToNs(time);
}

Result<Deadline> ReadDeadline(Task& task, GuestAddr timespec_ptr) {
  if (timespec_ptr.IsNull()) return Deadline{};
  const auto time = TRY(InPtr<timespec>(timespec_ptr).Read(task.memory()));
  return DeadlineAfter(TRY(TimespecToNs(time)));
}

void WriteRemainingTimespec(Task& task, GuestAddr to, const Deadline& deadline) {
  if (to.IsNull()) return;
  (void)OutPtr<timespec>(to).Write(task.memory(), ToTimespec(RemainingNs(deadline)));
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
  task.SetTemporaryMask(mask);
  return {};
}

}  // namespace sandbox::syscalls
