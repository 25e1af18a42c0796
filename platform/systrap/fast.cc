// The fast lane, sentry half: calls from rewritten sites. They arrive in the page with all
// registers saved, rung in or, while a worker watches the page, posted; the thread waits in stub
// code as if it were parked.
#include <sched.h>

#include <algorithm>
#include <csignal>

#include "platform/systrap/guest_thread.h"
#include "platform/systrap/platform.h"

namespace sandbox::platform::systrap {
namespace {

// How long a worker watches for the next call, at least. Waking somebody costs several microseconds and tens across
// processors, so that much may be lost for nothing; a guest that computes loses its worker after that.
constexpr int64_t kWatchNs = 20'000;
// The same in hand-offs, on hosts where those take long. Each call that is caught saves one and may be waited for that
// much longer, up to the second: so calls in bunches are caught, and waiting never costs more than it saved.
constexpr int64_t kWatchHandOffs = 2, kMostHandOffs = 10;
// And for the first call of a watch, before which the guest may have to be woken on another processor.
constexpr int64_t kFirstHandOffs = 20;
// Calls that have to be caught for a watch to be worth its beginning and end.
constexpr int kFruitful = 4;
// Calls rung in so shortly one after the other that watching would have caught them, before it starts: in hand-offs,
// and at least.
constexpr int64_t kShortGapHandOffs = 6, kShortGapNs = 20'000;
constexpr int kStreakToWatch = 4;
// The same for a thread whose partner a sentry thread watches already.
constexpr int kStreakToJoin = 1;
// After fruitless watches, how many more such calls it takes: doubled each time up to this power.
constexpr int kMaxPenalty = 10;
// A thread whose calls a shared watch did not take up in time joins again after more calls: doubled each time up to
// this power.
constexpr int kMaxLeft = 3;
// Turns of the spin loop between looks at anything but the page, about a microsecond.
constexpr int kTurnsPerLook = 24;

}  // namespace

Trap GuestThread::ReadFast(Hold hold) {
  hold_ = hold;
  CloneIsOver();
  fast_ = true;
  posted_ops_.clear();
  registers_loaded_ = false;
  return_set_ = false;
  return_value_ = -ENOSYS;
  output_failed_ = false;
  // One copy.
  const stub::Request& request = (*page_)->request;
  Trap trap;
  trap.fast = true;
  trap.nr = call_nr_ = request.nr;
  usage_came_ = stub::BringsUsage(trap.nr);
  std::copy(std::begin(request.args), std::end(request.args), trap.args.begin());
  trap.ip = GuestAddr(ShownSite(request.rip));
  data_.Begin(trap.nr < kCallNumbers ? platform_.inputs().inputs[trap.nr] : nullptr, trap.args);
  if (hold == Hold::kRung) CountStreak();
  if (hold == Hold::kParked && shared_) ++shared_calls_;
  return trap;
}

// Results travel with the answer to a call whose registers stay where they are, or with the one that starts a child or
// a fresh stub. What is queued before them runs before them.
char* GuestThread::ReserveOutput(size_t size) {
  if (hold_ == Hold::kFresh) return StartsAtOnce() ? data_.Reserve(size) : nullptr;
  const bool call = fast_ && !registers_loaded_ && !blocked_;
  if (!(call || (cloned_ && !started_)) || !ops_.empty()) return nullptr;
  return data_.Reserve(size);
}

void GuestThread::SettleCallData() {
  if (hold_ == Hold::kFresh) return;  // what they go to is yet to be mapped
  data_.DropInputs();
  if (!data_.has_outputs() || data_.Write(*space_)) return;
  output_failed_ = true;
  SetReturn(-EFAULT);
}

uint64_t GuestThread::ShownSite(uint64_t ip) {
  const Trampolines& trampolines = space_->trampolines();
  Site& site = sites_[ip / 16 % sites_.size()];
  const uint32_t version = trampolines.version();
  if (site.ip != ip || site.version != version) site = {ip, trampolines.Shown(ip), version};
  return site.shown;
}

void GuestThread::CountStreak() {
  const int64_t gap = MonotonicNs() - resumed_ns_;
  platform_.spin().NoteHandOff(gap);
  streak_ = gap < std::max(kShortGapNs, kShortGapHandOffs * platform_.spin().HandOffNs()) ? streak_ + 1 : 0;
}

// In the resuming answer of a fast call: whether somebody watches for the next one.
bool GuestThread::OpenDoor() {
  if (!fast_) return false;
  const int64_t now = MonotonicNs();
  if (hold_ == Hold::kRung) resumed_ns_ = now;
  if (shared_ && StaysShared()) return true;
  const bool alone = platform_.spin().Spare(false) && platform_.spin().Calm(now);
  if (!alone) return JoinShared();
  if (!OnDutyAt(listener_.get())) return false;
  if (hold_ == Hold::kRung) {
    if (streak_ < kStreakToWatch << penalty_) return false;
    streak_ = 0;
  }
  SetDoorOpen();
  watch_begins_ = hold_ == Hold::kRung;
  if (watch_begins_) {
    MutexLock lock(mu_);
    kept_off_.Keep(tid_, ::sched_getcpu());
  }
  WatchAfterTrap(shared_from_this());
  return true;
}

// Of one that a shared watch was given.
bool GuestThread::StaysShared() {
  SharedWatch& watch = platform_.shared_watch();
  // The stub rang and shut the door that was opened for it: nobody had taken its call up for too long.
  const bool lost = std::exchange(shared_open_, false) && hold_ == Hold::kRung &&
                    __atomic_load_n(&(*page_)->request.door, __ATOMIC_RELAXED) == stub::kDoorClosed;
  shared_ = !lost && watch.Reopen(*this);
  shared_open_ = shared_;
  if (shared_) return true;
  left_ = shared_calls_ > kStreakToWatch ? 0 : std::min(left_ + 1, kMaxLeft);
  watch.Leave(*this);
  return false;
}

// For one that calls often, when no processor is to be had for it alone.
bool GuestThread::JoinShared() {
  if (hold_ != Hold::kRung || streak_ < kStreakToJoin << left_) return false;
  SharedWatch& watch = platform_.shared_watch();
  shared_ = watch.Join(shared_from_this());
  if (!shared_ && streak_ >= kStreakToWatch << left_) {
    streak_ = 0;
    if (OnDutyAt(listener_.get()) && watch.Begin(shared_from_this())) {
      WatchSharedAfterTrap();
      shared_ = true;
    }
  }
  shared_open_ = shared_;
  shared_calls_ = 0;
  return shared_;
}

void GuestThread::SetDoorOpen() { __atomic_store_n(&(*page_)->request.door, stub::kDoorOpen, __ATOMIC_RELEASE); }

bool GuestThread::HasPosted() const {
  return __atomic_load_n(&(*page_)->request.door, __ATOMIC_ACQUIRE) == stub::kDoorPosted;
}

// False when a request was posted at the last moment.
bool GuestThread::CloseDoor() {
  uint32_t door = stub::kDoorOpen;
  return __atomic_compare_exchange_n(&(*page_)->request.door, &door, stub::kDoorClosed, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST) ||
         door != stub::kDoorPosted;
}

bool GuestThread::AwaitPosted() {
  SpinPolicy& spin = platform_.spin();
  spin.BeginWatch();
  const bool first = std::exchange(watch_begins_, false);
  const int64_t hand_off = spin.HandOffNs();
  if (first) saved_ns_ = 0;
  const int64_t most = std::max({kWatchNs, (first ? kFirstHandOffs : kWatchHandOffs) * hand_off, saved_ns_});
  // Most calls come before the first look, and are not worth asking the clock.
  int64_t begin = 0, waited = 0;
  bool posted = false;
  for (int turn = 1;; ++turn) {
    posted = HasPosted();
    if (posted) break;
    __builtin_ia32_pause();
    if (turn % kTurnsPerLook != 0) continue;
    const int64_t now = MonotonicNs();
    if (begin == 0) begin = now;
    waited = now - begin;
    if ((waited > most || !spin.Spare(true) || listener_->Pending()) && CloseDoor()) break;
  }
  spin.EndWatch();
  if (first) LetGo();
  if (!posted) {
    penalty_ = std::min(penalty_ + (caught_ == 0 ? 1 : 0), kMaxPenalty);
    caught_ = 0;
    return false;
  }
  if (++caught_ >= kFruitful) penalty_ = 0;
  const int64_t saved = saved_ns_ + hand_off - (first ? 0 : waited);
  saved_ns_ = std::clamp<int64_t>(saved, 0, std::max(kWatchNs, kMostHandOffs * hand_off));
  return AcceptPosted();
}

bool GuestThread::AcceptPosted() {
  {
    MutexLock lock(mu_);
    if (dead_ || state_ != State::kRunning) return false;
    // The stub takes back what nobody takes up in time.
    uint32_t door = stub::kDoorPosted;
    if (!__atomic_compare_exchange_n(&(*page_)->request.door, &door, stub::kDoorClosed, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED)) {
      return false;
    }
    state_ = State::kServing;
  }
  listener_->NotePosted();
  return true;
}

bool GuestThread::StopWatching() {
  LetGo();
  return !CloseDoor() && AcceptPosted();
}

void GuestThread::LetGo() {
  MutexLock lock(mu_);
  kept_off_.LetGo();
}

void GuestThread::ServePosted() {
  (void)handover_.load(std::memory_order_acquire);
  ServingScope scope(this);
  Serve(ReadFast(Hold::kParked));
}

// Signal frames hold what the fast lane leaves in the processor: the extended state.
Result<void> GuestThread::EnsureFrame() {
  TRY(EnsureBorn());
  TRY(FlushFrame());
  EnsureRegisters();
  if ((*page_)->frame != 0) return {};
  return Round(stub::Command::kMakeFrame, 0);
}

void GuestThread::SetLocalIdentity(const std::optional<LocalIdentity>& identity) {
  stub::LocalAnswers& local = (*page_)->local;
  __atomic_store_n(&local.valid, 0, __ATOMIC_SEQ_CST);
  if (!identity) {
    // What is to change may be where the thread runs.
    platform_.shared_watch().Leave(*this);
    LetGo();
    return;
  }
  local.pid = identity->pid;
  local.tid = identity->tid;
  local.has_ids = identity->has_ids;
  local.uid = identity->uid;
  local.euid = identity->euid;
  local.gid = identity->gid;
  local.egid = identity->egid;
  local.host_processor = identity->host_processor;
  local.host_futexes = 1;
  __atomic_store_n(&local.valid, 1, __ATOMIC_RELEASE);
}

}  // namespace sandbox::platform::systrap
