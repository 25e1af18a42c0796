// poll(2), ppoll(2).
#include "sentry/vfs/poll.h"

#include <poll.h>
#include <sys/resource.h>

#include <vector>

#include "sentry/kernel/task.h"
#include "syscalls/row.h"
#include "syscalls/wait_time.h"

namespace sandbox::syscalls {
namespace {

constexpr uint64_t kMaxFds = 1 << 20;  // Linux: sysctl_nr_open; bounds us when RLIMIT_NOFILE does not

Result<int> DoPoll(Task& task, GuestAddr fds, uint32_t count, const Deadline& deadline) {
  if (count > std::min<uint64_t>(task.rlimit(RLIMIT_NOFILE), kMaxFds)) return Err(EINVAL);
  auto requests = TRY(InPtr<pollfd>(fds).ReadArray(task.memory(), count));
  std::vector<PollEntry> entries(count);
  bool any_invalid = false;
  for (uint32_t i = 0; i < count; ++i) {
    if (requests[i].fd < 0) continue;
    auto file = task.fds().Get(Fd(requests[i].fd));
    if (file.ok()) {
      entries[i].file = std::move(*file);
      entries[i].wanted = static_cast<uint16_t>(requests[i].events);
    } else {
      entries[i].found = POLLNVAL;  // counts as ready, so nothing is waited for
      any_invalid = true;
    }
  }
  const auto ready = PollFiles(task, entries, any_invalid ? DeadlineAfter(0) : deadline);
  for (uint32_t i = 0; i < count; ++i) requests[i].revents = static_cast<int16_t>(entries[i].found);
  // The results are written also when a signal ended the wait, as Linux does.
  TRY(OutPtr<pollfd>(fds).WriteArray(task.memory(), requests));
  if (!ready.ok()) return Err(ready.Is(kErestartsys) ? kErestartnohand : ready.error().value());
  return static_cast<int>(*ready);
}

// poll(2) has no timeout argument to write back, so a restart after a stop carries the deadline itself.
Result<int> PollUntil(Task& task, GuestAddr fds, uint32_t count, const Deadline& deadline) {
  const auto result = DoPoll(task, fds, count, deadline);
  if (!result.Is(kErestartnohand)) return result;
  task.SetRestartBlock([fds, count, deadline](Task& again) -> Result<int64_t> {
    return int64_t{TRY(PollUntil(again, fds, count, deadline))};
  });
  return Err(kErestartRestartblock);
}

Result<int> SysPoll(Task& task, InArray<1, sizeof(pollfd)> fds, uint32_t count, int timeout_ms) {
  return PollUntil(task, fds, count, timeout_ms < 0 ? Deadline{} : DeadlineAfter(timeout_ms * int64_t{1'000'000}));
}
SYSCALL_ROW(poll, Lane::kMayBlock, Support::kFull, SysPoll, "");

Result<int> SysPpoll(Task& task, InArray<1, sizeof(pollfd)> fds, uint32_t count, GuestAddr timeout, GuestAddr mask,
                     uint64_t mask_size) {
  const Deadline deadline = TRY(ReadDeadline(task, timeout));
  TRY(ApplyWaitMask(task, mask, mask_size));
  const auto result = DoPoll(task, fds, count, deadline);
  WriteRemainingTimespec(task, timeout, deadline);
  return result;
}
SYSCALL_ROW(ppoll, Lane::kMayBlock, Support::kFull, SysPpoll, "");

}  // namespace
}  // namespace sandbox::syscalls
