#include "platform/systrap/shared_watch.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "platform/systrap/guest_thread.h"

namespace sandbox::platform::systrap {
namespace {

// In hand-offs (SpinPolicy::HandOffNs): without any call for so long, the watch is over. At first threads have to be
// woken on other processors, and their partners to join.
constexpr int64_t kQuietHandOffs = 10, kFirstHandOffs = 50;
// Calls after which the watch is looked at.
constexpr int64_t kCallsToJudge = 64;
// Whoever calls often has a partner as a rule, which joins soon.
constexpr int kFewMembers = 2;
// 2 to the power of this beginnings are declined at most.
constexpr int kMaxPenalty = 5;
// Turns of the spin loop between looks at anything but the pages.
constexpr int kTurnsPerLook = 16;

}  // namespace

bool SharedWatch::Reopen(GuestThread& thread) {
  MutexLock lock(mu_);
  if (!active_) return false;
  const bool watched =
      std::any_of(members_.begin(), members_.end(), [&](const Member& m) { return m.thread.get() == &thread; });
  if (watched) thread.SetDoorOpen();
  return watched;
}

void SharedWatch::AddLocked(const RefPtr<GuestThread>& thread) {
  // Now, since the answer would wake it there, and it would run before the watcher does.
  members_.push_back({.thread = thread, .kept_off = {}});
  members_.back().kept_off.KeepAmongOthers(thread->host_tid(), processor_);
  version_.fetch_add(1, std::memory_order_release);
  thread->SetDoorOpen();
}

bool SharedWatch::Join(const RefPtr<GuestThread>& thread) {
  MutexLock lock(mu_);
  if (!active_ || members_.size() == kMostWatched) return false;
  AddLocked(thread);
  return true;
}

bool SharedWatch::Begin(const RefPtr<GuestThread>& thread) {
  if (!spin_.SpareForShared(kFewMembers)) return false;
  MutexLock lock(mu_);
  if (active_ || ++declined_ < 1 << penalty_) return false;
  declined_ = 0;
  active_ = true;
  processor_ = ::sched_getcpu();
  AddLocked(thread);
  spin_.BeginWatch();
  return true;
}

void SharedWatch::Leave(const GuestThread& thread) {
  MutexLock lock(mu_);
  const auto member =
      std::find_if(members_.begin(), members_.end(), [&](const Member& m) { return m.thread.get() == &thread; });
  if (member == members_.end()) return;
  member->kept_off.LetGo();
  members_.erase(member);
  version_.fetch_add(1, std::memory_order_release);
}

void SharedWatch::TakeMembers() {
  MutexLock lock(mu_);
  seen_version_ = version_.load(std::memory_order_acquire);
  watched_.clear();
  for (const Member& member : members_) watched_.push_back(member.thread);
}

void SharedWatch::FollowWatcher() {
  const int here = ::sched_getcpu();
  MutexLock lock(mu_);
  if (std::exchange(processor_, here) == here) return;
  for (Member& member : members_) {
    member.kept_off.LetGo();
    member.kept_off.KeepAmongOthers(member.thread->host_tid(), here);
  }
}

bool SharedWatch::Pays(size_t members) {
  if (recent_calls_ < kCallsToJudge) return true;
  const bool pays = recent_ns_ <= recent_calls_ * spin_.HandOffNs() &&
                    spin_.SpareForShared(std::max(static_cast<int>(members), kFewMembers));
  recent_calls_ = recent_ns_ = 0;
  return pays;
}

RefPtr<GuestThread> SharedWatch::Next() {
  const int64_t start = MonotonicNs();
  if (calls_ % kCallsToJudge == 0) FollowWatcher();
  if (!Pays(watched_.size())) return nullptr;
  const int64_t limit_ns = (calls_ < kCallsToJudge ? kFirstHandOffs : kQuietHandOffs) * spin_.HandOffNs();
  for (int turn = 1;; ++turn) {
    if (version_.load(std::memory_order_acquire) != seen_version_) TakeMembers();
    for (const RefPtr<GuestThread>& thread : watched_) {
      if (!thread->HasPosted() || !thread->AcceptPosted()) continue;
      const int64_t waited = turn == 1 ? 0 : MonotonicNs() - start;
      ++calls_;
      ++recent_calls_;
      waited_ns_ += waited;
      recent_ns_ += waited;
      return thread;
    }
    __builtin_ia32_pause();
    if (turn % kTurnsPerLook != 0) continue;
    const int64_t waited = MonotonicNs() - start;
    if (waited <= limit_ns) continue;
    waited_ns_ += waited;
    return nullptr;
  }
}

std::vector<RefPtr<GuestThread>> SharedWatch::End() {
  std::vector<RefPtr<GuestThread>> posted;
  {
    MutexLock lock(mu_);
    active_ = false;
    for (Member& member : members_) {
      member.kept_off.LetGo();
      posted.push_back(std::move(member.thread));
    }
    members_.clear();
    version_.fetch_add(1, std::memory_order_release);
    penalty_ = waited_ns_ <= calls_ * spin_.HandOffNs() ? 0 : std::min(penalty_ + 1, kMaxPenalty);
  }
  spin_.EndWatch();
  watched_.clear();
  calls_ = waited_ns_ = recent_calls_ = recent_ns_ = 0;
  std::erase_if(posted, [](const RefPtr<GuestThread>& thread) { return !thread->StopWatching(); });
  return posted;
}

}  // namespace sandbox::platform::systrap
