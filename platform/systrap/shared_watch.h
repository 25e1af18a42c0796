// One sentry thread that watches the pages of several guest threads, which call often and are more than there are
// processors for: redis and those who ask it.
//
// Next to one processor for each guest thread there is none left to watch from (spin_policy.h), and without a watch
// each call costs two switches between address spaces, with all that the processor forgets in them. So the guest
// threads share the other processors, and one processor is the sentry's, as long as calls come so fast that it waits
// less for each than such a hand-off takes: then the watch costs less processor time than it saves. Guest threads that
// do not call are not made to wait for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "platform/systrap/kept_off.h"
#include "platform/systrap/spin_policy.h"

namespace sandbox::platform::systrap {

class GuestThread;

class SharedWatch {
 public:
  explicit SharedWatch(SpinPolicy& spin) : spin_(spin) {}

  // --- A sentry thread that is about to resume `thread`. True when the thread's door is open now. ---
  // For one that is watched already.
  bool Reopen(GuestThread& thread) EXCLUDES(mu_);
  // For one that calls often. False when nobody watches, or enough are watched.
  bool Join(const RefPtr<GuestThread>& thread) EXCLUDES(mu_);
  // Begins to watch, unless somebody does, it has not paid lately or others want the processors: the caller then has to
  // go on with Next.
  bool Begin(const RefPtr<GuestThread>& thread) EXCLUDES(mu_);

  // --- The watcher. ---
  // The next thread whose call was accepted and is to be served, or null when it is time for End.
  RefPtr<GuestThread> Next() EXCLUDES(mu_);
  // Closes all doors. Returns those whose calls were accepted meanwhile.
  std::vector<RefPtr<GuestThread>> End() EXCLUDES(mu_);

  // --- Anybody. ---
  // `thread` is not watched any more, and runs where the host likes again. Its door stays as it is.
  void Leave(const GuestThread& thread) EXCLUDES(mu_);

 private:
  struct Member {
    RefPtr<GuestThread> thread;
    KeptOff kept_off;
  };
  // Each look passes over all pages.
  static constexpr size_t kMostWatched = 16;

  void AddLocked(const RefPtr<GuestThread>& thread) REQUIRES(mu_);
  void TakeMembers() EXCLUDES(mu_);
  // The watcher is on the calling thread's processor.
  void FollowWatcher() EXCLUDES(mu_);
  // Whether watching has paid for the last calls.
  bool Pays(size_t members);

  SpinPolicy& spin_;
  Mutex mu_{LockRank::kPlatform};
  bool active_ GUARDED_BY(mu_) = false;
  std::vector<Member> members_ GUARDED_BY(mu_);
  std::atomic<uint32_t> version_{0};    // changes with them
  int processor_ GUARDED_BY(mu_) = -1;  // the watcher's; members are kept off it
  // Beginnings that were declined since a watch that did not pay, and the power of two of how many have to be.
  int declined_ GUARDED_BY(mu_) = 0, penalty_ GUARDED_BY(mu_) = 0;

  // The watcher's own.
  std::vector<RefPtr<GuestThread>> watched_;
  uint32_t seen_version_ = 0;
  // Of this watch: calls, and waiting for them; the same since it was last seen to pay.
  int64_t calls_ = 0, waited_ns_ = 0, recent_calls_ = 0, recent_ns_ = 0;
};

}  // namespace sandbox::platform::systrap
