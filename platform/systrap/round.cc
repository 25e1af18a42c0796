// Talking to a stopped stub: parking, commands, memory operations.
#include <linux/mman.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <span>

#include "base/io/pass_fds.h"
#include "platform/stub/zygote_request.h"
#include "platform/systrap/guest_thread.h"
#include "platform/systrap/platform.h"
#include "platform/systrap/router.h"

namespace sandbox::platform::systrap {
namespace {

// An honest stub answers in microseconds, but unmapping or copying a huge address space takes its time.
constexpr int kRoundTimeoutMs = 60'000;
constexpr int kTickMs = 100;

constexpr int kMapFlags = MAP_SHARED | MAP_PRIVATE | MAP_NORESERVE | MAP_GROWSDOWN | MAP_STACK;

stub::Op Translate(const MemoryOp& op) {
  const GuestRange all{GuestAddr(stub::kGuestStart), GuestAddr(stub::kRegionStart)};
  CHECK(all.Contains(op.range) && (op.range.start.IsPageAligned() || op.kind == MemoryOp::Kind::kRseq));
  stub::Op out = {};
  out.fd = -1;
  out.addr = op.range.start.value();
  out.length = op.range.length();
  switch (op.kind) {
    case MemoryOp::Kind::kMapAnonymous:
      out.kind = stub::Op::Kind::kMap;
      out.prot = op.prot;
      out.flags = (op.flags & kMapFlags) | MAP_ANONYMOUS | MAP_FIXED;
      if ((op.flags & MAP_SHARED) == 0) out.flags |= MAP_PRIVATE;
      break;
    case MemoryOp::Kind::kMapFile:
      out.kind = stub::Op::Kind::kMap;
      out.prot = op.prot;
      out.flags = (op.flags & kMapFlags) | MAP_FIXED;
      out.offset = op.offset;
      break;
    case MemoryOp::Kind::kUnmap:
      out.kind = stub::Op::Kind::kUnmap;
      break;
    case MemoryOp::Kind::kProtect:
      out.kind = stub::Op::Kind::kProtect;
      out.prot = op.prot;
      break;
    case MemoryOp::Kind::kMove:
      CHECK(all.Contains(op.target));
      out.kind = stub::Op::Kind::kMove;
      out.target = op.target.start.value();
      out.target_length = op.target.length();
      if (op.target.start != op.range.start) out.flags = MREMAP_MAYMOVE | MREMAP_FIXED;
      break;
    case MemoryOp::Kind::kAdvise:
      out.kind = stub::Op::Kind::kAdvise;
      out.flags = op.flags;
      break;
    case MemoryOp::Kind::kMembarrier:
      out.kind = stub::Op::Kind::kMembarrier;
      out.flags = op.flags;
      break;
    case MemoryOp::Kind::kRseq:
      out.kind = stub::Op::Kind::kRseq;
      out.flags = op.flags;
      out.offset = op.offset;
      break;
  }
  return out;
}

bool NeedsFile(const MemoryOp& op) { return op.kind == MemoryOp::Kind::kMapFile; }

}  // namespace

// From a guest's notified call into the control-signal handler: the signal is pending while the call waits (the
// kernel lets nothing but death end a received notification), and the answer ERESTARTNOINTR makes the kernel step back
// onto the call's instruction before it runs the handler, which finds want_park. So a call that turns out to block
// costs the host one parked thread, not one parked notification (a thousand of those slow every call of the
// listener down).
void GuestThread::Park() {
  switch (hold_) {
    case Hold::kNotified:
      (*page_)->go = 0;
      (*page_)->parked = 0;
      __atomic_store_n(&(*page_)->want_park, 1, __ATOMIC_RELEASE);
      SendControlSignal();
      (void)listener_->AnswerRestart(notification_);
      break;
    case Hold::kRung:
      (*page_)->go = 0;
      (void)listener_->Answer(notification_, static_cast<int64_t>(stub::Answer::kWait));
      break;
    case Hold::kParked:
    case Hold::kFresh:
      return;
    case Hold::kLoose:
      return;  // died in a round; nothing is left to park
  }
  hold_ = Hold::kParked;
}

void GuestThread::LoadRegisters() {
  // One copy; the guest's other threads can write the page at any time.
  registers_ = (*page_)->regs;
  registers_.rip = space_->trampolines().Shown(registers_.rip);
  registers_loaded_ = true;
}

void GuestThread::EnsureRegisters() {
  if (registers_loaded_) return;
  SettleCallData();
  if (fast_) {
    LoadRegisters();
    registers_.rcx = registers_.rip;
    registers_.r11 = registers_.eflags;
    registers_.orig_rax = call_nr_;
    registers_.rax = return_set_ ? return_value_ : -ENOSYS;
    registers_.cs = arch::kUserCs;
    registers_.ss = arch::kUserSs;
    return;
  }
  if (hold_ == Hold::kNotified) Park();
  bool parked = false;
  for (int waited = 0; !parked && waited < kRoundTimeoutMs; waited += kTickMs) {
    parked = FutexWaitSet(&(*page_)->parked, kTickMs);
    MutexLock lock(mu_);
    if (dead_) break;
  }
  if (!parked) KillHostile("does not park");
  LoadRegisters();
  // The saved registers stand before the call; what follows wants them as after it, like those of a trapped call.
  registers_.rip += arch::kSyscallInsnLength;
  registers_.rcx = registers_.rip;
  registers_.r11 = registers_.eflags;
  registers_.orig_rax = call_nr_;
  registers_.rax = return_set_ ? return_value_ : -ENOSYS;
}

Result<void> GuestThread::EnsureRung() {
  if (hold_ == Hold::kRung) return {};
  if (!fast_) EnsureRegisters();
  return Round(stub::Command::kRing, 0);
}

Result<void> GuestThread::PrepareOps() {
  if (ops_.empty()) return {};
  if (hold_ == Hold::kFresh) return {};
  if (!fast_) EnsureRegisters();
  if (std::any_of(ops_.begin(), ops_.end(), NeedsFile)) return EnsureRung();
  return {};
}

size_t GuestThread::NumberFiles(size_t count, std::vector<BorrowedFd>* files) const {
  const auto same = [](int fd) { return [fd](BorrowedFd other) { return other.get() == fd; }; };
  for (size_t i = 0; i < count; ++i) {
    if (!NeedsFile(ops_[i]) || std::any_of(files->begin(), files->end(), same(ops_[i].fd.get()))) continue;
    if (files->size() == stub::kMaxStartFiles) return i;
    files->push_back(ops_[i].fd);
  }
  return count;
}

bool GuestThread::StartsAtOnce() const {
  std::vector<BorrowedFd> files;
  return ops_.size() <= stub::kMaxOps && NumberFiles(ops_.size(), &files) == ops_.size();
}

// Writes the first `count` queued ops to the page, with their files opened in the stub, or beside its first answer.
// A file used several times in a row of ops (the segments of an executable) is injected once.
void GuestThread::FillOps(size_t count) {
  start_files_.clear();
  const bool fresh = hold_ == Hold::kFresh;
  if (fresh) count = NumberFiles(count, &start_files_);
  posted_ops_.assign(std::make_move_iterator(ops_.begin()), std::make_move_iterator(ops_.begin() + count));
  ops_.erase(ops_.begin(), ops_.begin() + count);
  int last_fd = -1, last_remote = -1;
  stub::Op* last = nullptr;
  std::array<stub::Op*, stub::kMaxStartFiles> last_use = {};
  for (size_t i = 0; i < count; ++i) {
    stub::Op op = Translate(posted_ops_[i]);
    stub::Op* const slot = &(*page_)->ops[i];
    const int fd = posted_ops_[i].fd.get();
    if (NeedsFile(posted_ops_[i]) && fresh) {
      const auto file = std::find_if(start_files_.begin(), start_files_.end(), [&](auto f) { return f.get() == fd; });
      op.fd = static_cast<int32_t>(file - start_files_.begin());
      op.close_fd = 1;
      if (stub::Op* const before = std::exchange(last_use[op.fd], slot)) before->close_fd = 0;
    } else if (NeedsFile(posted_ops_[i])) {
      if (fd == last_fd && last != nullptr) {
        last->close_fd = 0;
      } else {
        last_fd = fd;
        // On failure the stub's mmap reports EBADF for it.
        last_remote = listener_->AddFd(notification_, fd).value_or(-1);
      }
      op.fd = last_remote;
      op.close_fd = last_remote >= 0;
      last = slot;
    }
    *slot = op;
  }
  (*page_)->op_count = count;
}

// When there is nobody at the other end, the reaper knows. The thread may trap, and end, before this returns.
void GuestThread::SendStart() {
  const UniqueFd socket = std::move(socket_);
  const std::vector<BorrowedFd> files = std::exchange(start_files_, {});
  const stub::StubStart start{static_cast<uint32_t>(files.size())};
  hold_ = Hold::kLoose;
  StubPool& pool = platform_.pool();
  filling_ = true;
  space_->SetFilling(page_);
  handover_.store(0, std::memory_order_release);
  (void)SendWithFds(socket.borrow(), std::as_bytes(std::span(&start, 1)), files);
  pool.Refill();
}

void GuestThread::Post(stub::Command command, stub::Resume resume, size_t op_limit) {
  SharedPage& page = *page_;
  const bool resumes = command == stub::Command::kResume || command == stub::Command::kCloneAndResume;
  if (resumes || hold_ == Hold::kFresh) {
    data_.Post();
  } else {
    SettleCallData();
    page->output_count = 0;
  }
  const size_t count = std::min({ops_.size(), op_limit, size_t{stub::kMaxOps}});
  if (count != 0) {
    FillOps(count);
  } else {
    page->op_count = 0;
  }
  page->command = command;
  page->resume = resume;
  page->return_value = return_value_;
  const bool watch = resumes && OpenDoor();
  page->spin_cycles = watch ? platform_.spin().StubSpinCycles() : 0;
  if (resume == stub::Resume::kRegisters) {
    page->regs = registers_;
    page->regs.rip = space_->trampolines().Continued(registers_.rip);
  }
  if (resumes && push_) FillPush();
  if (!resumes) {
    MutexLock lock(mu_);
    in_round_ = true;
    bell_.reset();
  }
  if (hold_ == Hold::kFresh) return SendStart();
  const Hold before = hold_;
  const uint64_t notification = notification_;
  hold_ = Hold::kLoose;
  handover_.store(0, std::memory_order_release);  // nothing of the owner's is touched from here on
  if (before == Hold::kRung) {
    (void)listener_->Answer(notification, static_cast<int64_t>(stub::Answer::kProceed));
  } else if (before == Hold::kParked) {
    Go(&*page);
  }
}

template <typename F>
Result<void> GuestThread::ReceiveUntil(F done) {
  for (int waited = 0;;) {
    {
      MutexLock lock(mu_);
      if (done()) return {};
      if (dead_) return Err(ESRCH);
    }
    if (waited >= kRoundTimeoutMs) {
      KillHostile("does not answer");
      return Err(ESRCH);
    }
    Notification notification;
    switch (listener_->ReceiveFor(&notification, kTickMs)) {
      case Listener::Received::kNotification:
        Route(platform_.workers(), listener_, notification, RouteMode::kHandOff);
        break;
      case Listener::Received::kBusy: {
        listener_->WaitNotReceiving(kTickMs);
        waited += 1;  // counts wake-ups as well; the limit only has to be finite
        break;
      }
      case Listener::Received::kTimeout:
        waited += kTickMs;
        break;
      case Listener::Received::kGone:
        return Err(ESRCH);
    }
  }
}

Result<stub::Bell> GuestThread::AwaitBell() {
  stub::Bell bell = {};
  TRY(ReceiveUntil([&]() REQUIRES(mu_) {
    if (!bell_) return false;
    bell = static_cast<stub::Bell>(bell_->args[0]);
    notification_ = bell_->id;
    hold_ = Hold::kRung;
    bell_.reset();
    in_round_ = false;
    return true;
  }));
  return bell;
}

Result<void> GuestThread::AwaitBirth() {
  return ReceiveUntil([&]() REQUIRES(mu_) { return tid_ >= 0; });
}

Result<void> GuestThread::Round(stub::Command command, size_t op_limit) {
  TRY(EnsureBorn());
  if (command != stub::Command::kClone) SettleClone();
  Post(command, stub::Resume::kUnchanged, op_limit);
  const stub::Bell bell = TRY(AwaitBell());
  if (std::exchange(filling_, false)) space_->SetFilling(nullptr);
  if (bell == stub::Bell::kDone) return {};
  if (bell == stub::Bell::kOpFailed) {
    const int error = (*page_)->failed_errno;
    return Err(error > 0 && error < 4096 ? error : EFAULT);
  }
  if (bell == stub::Bell::kFrameFailed) return Err(EFAULT);
  KillHostile("unexpected bell");
  return Err(ESRCH);
}

Result<void> GuestThread::FlushMemoryOps() {
  while (!ops_.empty()) {
    auto done = PrepareOps();
    if (done.ok()) done = Round(stub::Command::kRing, stub::kMaxOps);
    posted_ops_.clear();
    if (!done.ok()) {
      ops_.clear();
      return done.error();
    }
  }
  return {};
}

Result<uint32_t> GuestThread::CompareExchange(GuestAddr at, uint32_t expected, uint32_t desired) {
  if (!fast_) EnsureRegisters();
  if (hold_ == Hold::kLoose) return Err(EFAULT);
  (*page_)->cmpxchg_address = at.value();
  (*page_)->cmpxchg_expected = expected;
  (*page_)->cmpxchg_desired = desired;
  if (!Round(stub::Command::kCompareExchange, 0).ok()) return Err(EFAULT);
  const int64_t result = (*page_)->result;
  if (result < 0) return Err(EFAULT);
  return static_cast<uint32_t>(result);
}

}  // namespace sandbox::platform::systrap
