// The fast lane, sentry half: calls from rewritten sites. They arrive in the page with all
// registers saved, rung in or, while a worker watches the page, posted; the thread waits in stub
// code as if it were parked.
#include <algorithm>
#include <csignal>

#include "platform/systrap/guest_thread.h"
#include "platform/systrap/platform.h"

namespace sandbox::platform::systrap {
namespace {

// How long a worker watches for the next call. Waking somebody costs several microseconds here and
// tens across processors, so that much may be lost for nothing; a guest that computes loses its
// worker after that.
constexpr int64_t kWatchNs = 20'000;
// Calls rung in so shortly one after the other that watching would have caught them, before it
// starts.
constexpr int64_t kShortGapNs = 20'000;
constexpr int kStreakToWatch = 4;
// After fruitless watches, how many more such calls it takes: doubled each time up to this power.
constexpr int kMaxPenalty = 10;
// Turns of the spin loop between looks at anything but the page, about a microsecond.
constexpr int kTurnsPerLook = 24;

}  // namespace

Trap GuestThread::ReadFast(Hold hold) {
  hold_ = hold;
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
  std::copy(std::begin(request.args), std::end(request.args), trap.args.begin());
  trap.ip = GuestAddr(ShownSite(request.rip));
  data_.Begin(trap.nr < kCallNumbers ? platform_.inputs().inputs[trap.nr] : nullptr, trap.args);
  if (hold == Hold::kRung) CountStreak();
  return trap;
}

// Results travel with the answer to a call whose registers stay where they are, or with the one that starts a child.
// What is queued before them runs before them.
char* GuestThread::ReserveOutput(size_t size) {
  const bool call = fast_ && !registers_loaded_ && !blocked_;
  if (!(call || (cloned_ && !started_)) || !ops_.empty()) return nullptr;
  return data_.Reserve(size);
}

void GuestThread::SettleCallData() {
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
  const int64_t now = MonotonicNs();
  streak_ = now - resumed_ns_ < kShortGapNs ? streak_ + 1 : 0;
}

// In the resuming answer of a fast call: whether the caller watches for the next one.
bool GuestThread::OpenDoor() {
  if (!fast_ || !OnDutyAt(listener_.get()) || !platform_.spin().Spare(false)) return false;
  const int64_t now = MonotonicNs();
  if (hold_ == Hold::kRung) resumed_ns_ = now;
  if (!platform_.spin().Calm(now)) return false;
  if (hold_ == Hold::kRung) {
    if (streak_ < kStreakToWatch << penalty_) return false;
    streak_ = 0;
  }
  __atomic_store_n(&(*page_)->request.door, stub::kDoorOpen, __ATOMIC_RELEASE);
  leave_processor_ = hold_ == Hold::kRung;
  WatchAfterTrap(shared_from_this());
  return true;
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
  if (std::exchange(leave_processor_, false)) spin.LeaveProcessor();
  const int64_t limit = MonotonicNs() + kWatchNs;
  bool posted = false;
  for (int turn = 1;; ++turn) {
    posted = __atomic_load_n(&(*page_)->request.door, __ATOMIC_ACQUIRE) == stub::kDoorPosted;
    if (posted) break;
    __builtin_ia32_pause();
    if (turn % kTurnsPerLook != 0) continue;
    if ((MonotonicNs() > limit || !spin.Spare(true) || listener_->Pending()) && CloseDoor()) break;
  }
  spin.EndWatch();
  if (!posted) {
    penalty_ = std::min(penalty_ + (caught_ == 0 ? 1 : 0), kMaxPenalty);
    caught_ = 0;
    return false;
  }
  if (++caught_ > 16) penalty_ = 0;
  return AcceptPosted();
}

bool GuestThread::AcceptPosted() {
  __atomic_store_n(&(*page_)->request.door, stub::kDoorClosed, __ATOMIC_RELAXED);
  listener_->NotePosted();
  MutexLock lock(mu_);
  if (dead_ || state_ != State::kRunning) return false;
  state_ = State::kServing;
  return true;
}

bool GuestThread::StopWatching() { return !CloseDoor() && AcceptPosted(); }

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
  if (!identity) return;
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
