// One seccomp listener: the door through which every thread of one exec'd stub and of the stubs forked from it reaches
// the sentry. Knows those threads by host tid, and keeps the count of sentry threads that serve them.
//
// Receiving. At most one sentry thread is inside NOTIF_RECV at a time (the kernel wakes every waiter for every
// notification, so more would only cost). A worker on duty receives, serves inline, answers, and receives again. A
// thread that waits for its own stub's answer in the middle of a trap (GuestThread::Round) receives too when nobody
// else does, so that progress never depends on a worker which may wait for a lock that the first one holds.
#pragma once

#include <linux/seccomp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox::platform::systrap {

class GuestThread;
class SlowHandlerMonitor;
class SpinPolicy;

struct Notification {
  uint64_t id = 0;
  int32_t tid = 0;  // verified by the kernel
  uint32_t nr = 0;
  uint64_t ip = 0;
  uint64_t args[6] = {};
};

class Listener : public RefFromThis<Listener> {
 public:
  Listener(UniqueFd fd, SlowHandlerMonitor& monitor, SpinPolicy& spin)
      : fd_(std::move(fd)), monitor_(monitor), spin_(spin) {}

  enum class Received {
    kNotification,
    kBusy,  // another thread is receiving
    kTimeout,
    kGone,  // no host thread is left
  };
  // Waits for a notification without limit.
  Received Receive(Notification* out) EXCLUDES(mu_) { return ReceiveFor(out, -1); }
  Received ReceiveFor(Notification* out, int timeout_ms) EXCLUDES(mu_);
  // Whether a notification waits.
  bool Pending();
  // A call arrived without a notification.
  void NotePosted() { posted_.fetch_add(1, std::memory_order_relaxed); }
  // Waits until nobody receives, Wakeup was called, or the timeout is over.
  void WaitNotReceiving(int timeout_ms) EXCLUDES(mu_) NO_THREAD_SAFETY_ANALYSIS;  // CondVar knows no timeouts
  // Ends WaitNotReceiving of all threads.
  void Wakeup() EXCLUDES(mu_);

  // Answer with a return value. False when the caller is dying or the notification is stale.
  bool Answer(uint64_t id, int64_t value) { return Send(id, value, 0, 0); }
  // Answer such that the kernel restarts the call after running the handler of the control signal that was sent
  // before; see GuestThread::Park.
  bool AnswerRestart(uint64_t id) { return Send(id, 0, -kErestartnointr, 0); }
  // Lets the host kernel carry out the call: only for an approved clone.
  bool AnswerContinue(uint64_t id) { return Send(id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE); }
  // Opens `fd` in the process that waits with `id`. Returns the number there.
  Result<int> AddFd(uint64_t id, int fd);

  // --- threads
  void Add(int tid, RefPtr<GuestThread> thread) EXCLUDES(mu_);
  void Remove(int tid, const GuestThread* thread) EXCLUDES(mu_);
  RefPtr<GuestThread> Find(int tid) EXCLUDES(mu_);
  // Children whose clone is under way, by the random token that they will say.
  void AddPending(uint64_t token, RefPtr<GuestThread> child) EXCLUDES(mu_);
  RefPtr<GuestThread> TakePending(uint64_t token) EXCLUDES(mu_);
  // Threads that are made while their creators go on: they have no number yet (GuestThread::Bind).
  void AddUnbound(RefPtr<GuestThread> thread) EXCLUDES(mu_);
  void RemoveUnbound(const GuestThread* thread) EXCLUDES(mu_);
  // Add for one of those; false when another thread of its process has the number.
  bool Bind(int tid, const RefPtr<GuestThread>& thread) EXCLUDES(mu_);
  // Who has that number, when those were asked for theirs once more.
  RefPtr<GuestThread> BindAndFind(int tid) EXCLUDES(mu_);

  // --- notifications that stay unanswered while their call waits. Every receive walks over them, so there may be few.
  bool HoldNotification() EXCLUDES(mu_);
  void ReleaseNotification() EXCLUDES(mu_);

  // --- duty: workers that are receiving here or will come back to it
  // Each returns true when the caller must now get a worker on duty here (the duty was already counted for it).
  bool ThreadRuns() EXCLUDES(mu_);   // one more guest thread may trap
  void ThreadStops() EXCLUDES(mu_);  // one less: blocked, or gone
  // One more again. Needs nobody: the worker that served the wait looks for duty when it is done.
  void ThreadUnblocks() EXCLUDES(mu_);
  bool LeaveDuty() EXCLUDES(mu_);
  bool NeedsWorker() EXCLUDES(mu_);
  // Takes up duty if nobody has it and somebody may trap.
  bool TryDuty() EXCLUDES(mu_) { return NeedsWorker(); }
  // Leaves duty if others are on it.
  bool LeaveSurplusDuty() EXCLUDES(mu_);

  // --- for SlowHandlerMonitor, once a tick
  enum class Tick { kBusy, kQuiet, kStuck };
  // kStuck: nobody has received since the last tick although somebody may trap; a duty was counted for a further
  // worker. kQuiet: no need to watch just now.
  Tick CheckProgress() EXCLUDES(mu_);
  void StopWatching() EXCLUDES(mu_);

 private:
  bool Send(uint64_t id, int64_t value, int32_t error, uint32_t flags);
  bool NeedsWorkerLocked() REQUIRES(mu_);

  const UniqueFd fd_;
  SlowHandlerMonitor& monitor_;
  SpinPolicy& spin_;
  std::atomic<uint64_t> posted_{0};
  Mutex mu_{LockRank::kPlatform};
  bool receiving_ GUARDED_BY(mu_) = false;
  int waiters_ GUARDED_BY(mu_) = 0;
  uint64_t wakeups_ GUARDED_BY(mu_) = 0;
  std::condition_variable changed_;
  uint64_t received_ GUARDED_BY(mu_) = 0;
  uint64_t received_before_tick_ GUARDED_BY(mu_) = 0;
  bool watched_ GUARDED_BY(mu_) = false;
  static constexpr int kMostHeld = 32;
  int held_ GUARDED_BY(mu_) = 0;
  int duty_ GUARDED_BY(mu_) = 0;
  int running_ GUARDED_BY(mu_) = 0;  // guest threads that were started and are not blocked
  std::unordered_map<int, RefPtr<GuestThread>> threads_ GUARDED_BY(mu_);
  std::unordered_map<uint64_t, RefPtr<GuestThread>> pending_ GUARDED_BY(mu_);
  std::vector<RefPtr<GuestThread>> unbound_ GUARDED_BY(mu_);
};

}  // namespace sandbox::platform::systrap
