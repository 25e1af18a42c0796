// What every lower layer may know about its caller: identity, memory, limits, and the only way to wait. A Context is
// a Task (sentry/kernel/task.h) or the kernel itself (KernelContext: root, no guest memory, never interrupted).
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "sentry/core/credentials.h"
#include "sentry/core/guest_memory.h"
#include "sentry/core/net_namespace.h"
#include "sentry/core/wait_queue.h"

namespace sandbox {

// Nanoseconds on the guest's CLOCK_MONOTONIC.
struct MonotonicTime {
  int64_t ns = 0;
  friend constexpr auto operator<=>(MonotonicTime, MonotonicTime) = default;
};

MonotonicTime MonotonicNow();
// Nanoseconds since the epoch on CLOCK_REALTIME.
int64_t RealtimeNowNs();

// Absolute deadline of a wait; none = forever.
using Deadline = std::optional<MonotonicTime>;

// A waiter that wakes its own Context out of Block. Register it on one or more queues (one Waker per queue), all
// bound to the same context.
class Context;
class Waker final : public WaitEntry {
 public:
  explicit Waker(Context& context) : context_(context) {}
  void Notify(EventMask events) override;

 private:
  Context& context_;
};

class Context {
 public:
  virtual ~Context() = default;

  virtual const Credentials& creds() const = 0;
  virtual CredentialsRef creds_ref() const = 0;
  virtual GuestMemory& memory() = 0;
  virtual uint64_t rlimit(int resource) const = 0;  // RLIMIT_*; soft limit, RLIM_INFINITY when unlimited
  virtual int32_t tgid() const = 0;                 // in the root pid namespace of the sandbox; 0 for the kernel
  virtual int32_t tid() const = 0;
  // A process, thread, group or session number of the root pid namespace as the caller's own has it, and back; 0 when
  // there is none.
  virtual int32_t ShownPid(int32_t pid) const { return pid; }
  virtual int32_t ActualPid(int32_t number) const { return number; }
  virtual RefPtr<NetNamespace> net() const { return NetNamespace::Root(); }
  // Queues a signal to the calling thread (SIGPIPE, SIGXFSZ).
  virtual void RaiseSignal(int signo) = 0;

  // Sleeps until Wake, a signal or kill, or the deadline. Ok() after Wake (also a spurious one: re-check the state),
  // kErestartsys when interrupted by a signal (the caller cleans up and returns it, mapped if its call demands
  // EINTR), ETIMEDOUT at the deadline. A Wake that came before Block makes it return at once. Callers hold no lock.
  virtual Result<void> Block(const Deadline& deadline) = 0;
  // Like Block, but only a fatal signal interrupts (Linux: TASK_KILLABLE). Returns kErestartsys then.
  virtual Result<void> BlockKillable(const Deadline& deadline) = 0;
  // Ends the current or next Block. From any thread; may be called with locks held.
  virtual void Wake() = 0;
  // True when a signal is pending that would interrupt Block.
  virtual bool Interrupted() const = 0;
};

// Repeats `attempt` (returning Result<T>) while it says EAGAIN, sleeping on `queue` in between. The error is what
// attempt or Block returned.
template <typename Attempt>
auto BlockUntil(Context& context, WaitQueue& queue, EventMask events, const Deadline& deadline, Attempt attempt)
    -> decltype(attempt()) {
  auto result = attempt();
  if (!result.Is(EAGAIN)) return result;
  Waker waker(context);
  queue.Register(waker, events);
  for (;;) {
    result = attempt();
    if (!result.Is(EAGAIN)) break;
    if (auto slept = context.Block(deadline); !slept.ok()) {
      result = slept.error();
      break;
    }
  }
  queue.Unregister(waker);
  return result;
}

// The kernel acting for itself.
Context& KernelContext();

}  // namespace sandbox
