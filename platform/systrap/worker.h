// The sentry threads that serve traps. A worker is on duty at a listener, blocked inside a handler, or parked; parked
// ones are taken last-in first-out, so that the warmest serves and the rest stay asleep. Created on demand.
#pragma once

#include <pthread.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "platform/systrap/listener.h"

namespace sandbox::platform::systrap {

class GuestThread;
class SharedWatch;
class Worker;

class WorkerPool {
 public:
  // `after_trap`: PlatformOptions::after_trap, or empty.
  WorkerPool(std::function<void()> after_trap, SharedWatch& shared_watch)
      : after_trap_(std::move(after_trap)), shared_watch_(shared_watch) {}
  ~WorkerPool();

  // Puts a worker on duty at `listener`; the duty was counted already.
  void Dispatch(RefPtr<Listener> listener);
  // The same, by the calling worker itself once the trap it serves is over (or blocks): exec moves a task to another
  // listener, and waking a second thread for it would only cost.
  void DispatchAfterTrap(RefPtr<Listener> listener);
  // Has a worker serve a trap that somebody else received and `thread` accepted (GuestThread::Deliver).
  void Serve(RefPtr<GuestThread> thread, RefPtr<Listener> listener, const Notification& notification);
  // Has a worker go on with the deferred trap of `thread`.
  void ServeDeferred(RefPtr<GuestThread> thread);
  // Has a worker serve a call that was posted and accepted (GuestThread::StopWatching).
  void ServePosted(RefPtr<GuestThread> thread);
  // Has a worker deliver Trap::kDead.
  void DeliverDeath(RefPtr<GuestThread> thread);

  // Ends parked workers and waits for all; nothing may be dispatched any more.
  void Shutdown() EXCLUDES(mu_);

 private:
  friend class Worker;
  struct Job {
    RefPtr<Listener> listener;
    bool on_duty = false;
    RefPtr<GuestThread> thread;                // whose trap or death is to be served
    std::optional<Notification> notification;  // its trap; none: its death, or
    bool deferred = false;                     // the rest of its trap, or
    bool posted = false;                       // the call in its page
  };
  void Give(Job job) EXCLUDES(mu_);
  // Parks the calling worker; false when it should end.
  bool Park(Worker* worker) EXCLUDES(mu_);

  static constexpr size_t kMaxParked = 64;
  const std::function<void()> after_trap_;
  SharedWatch& shared_watch_;
  Mutex mu_{LockRank::kLeaf};
  std::vector<Worker*> parked_ GUARDED_BY(mu_);
  int alive_ GUARDED_BY(mu_) = 0;
  bool stopping_ GUARDED_BY(mu_) = false;
  CondVar ended_;
};

// The guest thread whose trap the calling sentry thread serves, or null.
GuestThread* CurrentGuestThread();
// While in scope, the calling sentry thread serves `thread`.
class ServingScope {
 public:
  explicit ServingScope(GuestThread* thread);
  ~ServingScope();

 private:
  GuestThread* const before_;
};

// Whether the calling sentry thread is on duty at `listener`, with nowhere else to go after its
// trap.
bool OnDutyAt(const Listener* listener);
// Has the calling worker, which is on duty, watch the page of `thread` once the trap it serves is
// over. The door of the page is open already.
void WatchAfterTrap(RefPtr<GuestThread> thread);
// Has it go on with the shared watch, which it began.
void WatchSharedAfterTrap();

// The calling worker stops receiving for a while (or for good): gives its duty away if it has one.
void GiveUpDuty();

}  // namespace sandbox::platform::systrap
