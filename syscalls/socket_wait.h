// How the socket calls wait: MSG_DONTWAIT, O_NONBLOCK, SO_RCVTIMEO and SO_SNDTIMEO, and what a signal does.
#pragma once

#include <sys/socket.h>

#include "sentry/kernel/task.h"
#include "sentry/socket/socket.h"
#include "syscalls/wait_time.h"

namespace sandbox::syscalls {

// Runs `attempt` until it says something else than EAGAIN. The end of a timeout is EAGAIN; a call with a timeout is not
// restarted after a signal (Linux: sock_intr_errno).
template <typename Attempt>
auto WaitSocket(Task& task, Socket& socket, bool write, int flags, Attempt attempt) -> decltype(attempt()) {
  if (socket.nonblocking() || (flags & MSG_DONTWAIT)) return attempt();
  const int64_t timeout = socket.TransferTimeoutNs(write);
  const Deadline deadline = timeout > 0 ? DeadlineAfter(timeout) : Deadline{};
  auto result = BlockUntil(task, *socket.wait_queue(), write ? kWritable : kReadable | kEventRdHup, deadline, attempt);
  if (timeout > 0 && result.Is(ETIMEDOUT)) return Err(EAGAIN);
  if (timeout > 0 && result.Is(kErestartsys)) return Err(EINTR);
  return result;
}

// The caller's view for operations that may name a path.
struct CallerStorage {
  explicit CallerStorage(Task& task) : base(task.WalkFromCwd()), caller{task, base, task.fs().umask()} {}
  CallerStorage(const CallerStorage&) = delete;
  const WalkBase base;
  const SocketCaller caller;
};

inline Result<SocketRef> GetSocket(Task& task, Fd fd) { return AsSocket(TRY(task.fds().Get(fd))); }

// Copies an address in: EINVAL when longer than any address.
Result<SocketAddress> ReadAddress(Task& task, GuestAddr from, int32_t size);
// Copies an address out to a buffer of *size_ptr bytes and stores the full length there. Null `to` = nothing to do.
Result<void> WriteAddress(Task& task, GuestAddr to, InOutPtr<int32_t> size_ptr, const SocketAddress& address);

}  // namespace sandbox::syscalls
