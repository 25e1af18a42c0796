// Children. The stub clones itself; the filter notifies every clone, and only the one that this thread was told to
// make is let through, with exactly its flags. CLONE_PARENT children are not tied to their parent by the kernel, so a
// child proves itself with a random token that only its parent was given.
#include <sched.h>
#include <sys/random.h>

#include <csignal>
#include <utility>

#include "base/cleanup.h"
#include "base/log.h"
#include "platform/systrap/guest_thread.h"
#include "platform/systrap/platform.h"

namespace sandbox::platform::systrap {
namespace {

uint64_t HostFlags(const CloneOptions& options) {
  if (options.thread) {
    return CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_PARENT_SETTID;
  }
  // vfork too: not a thread, since a fault in the child would kill the parent.
  if (options.share_memory) return CLONE_VM | CLONE_PARENT | SIGCHLD;
  return CLONE_PARENT | SIGCHLD;
}

bool StartsInLane(const arch::Registers& registers) { return registers.gs_base == 0 && registers.rip >> 47 == 0; }

Result<uint64_t> RandomToken() {
  uint64_t token = 0;
  if (::getrandom(&token, sizeof(token), 0) != sizeof(token)) return Err(EAGAIN);
  return token;
}

}  // namespace

bool GuestThread::ApproveClone(const Notification& notification) {
  {
    MutexLock lock(mu_);
    // One clone for each approval. The new stack (argument 1) and where its number goes (argument 2) are the guest's
    // own affair; child tid and TLS are only used with flags that are not there.
    if (!clone_flags_ || notification.args[0] != *clone_flags_) return false;
    clone_flags_.reset();
  }
  (void)listener_->AnswerContinue(notification.id);
  return true;
}

Result<RefPtr<GuestThread>> GuestThread::Clone(const CloneOptions& options, TrapHandler& handler) {
  CHECK(has_registers());
  TRY(FlushMemoryOps());
  TRY(FlushFrame());
  EnsureRegisters();
  SettleClone();
  platform_.shared_watch().Leave(*this);  // the child inherits where it may run
  const bool shares = options.share_memory || options.thread;
  const uint64_t token = options.thread ? 0 : TRY(RandomToken());
  StubSpace::Slot slot{.index = slot_};
  if (shares) slot = TRY(space_->AllocateSlot());
  auto free_slot = Cleanup([&] {
    if (shares) space_->FreeSlot(slot, process_, -1);
  });
  int remote_fd = -1;
  RefPtr<SharedPage> page = slot.page;
  if (page != nullptr) {
    **page = {};
  } else {
    UniqueFd page_fd;
    page = TRY(SharedPage::Create(&page_fd));
    TRY(EnsureRung());
    remote_fd = TRY(listener_->AddFd(notification_, page_fd.get()));
  }

  const RefPtr<StubSpace> space = shares ? space_ : MakeRef<StubSpace>(slot.index, space_->zygote());
  const auto child = MakeRef<GuestThread>(platform_, listener_, std::move(page), space, handler, slot.index);
  PrepareChild(*child, options);
  child->token_ = token;
  if (!options.thread) listener_->AddPending(token, child);
  auto forget = Cleanup([&] { ForgetChild(*child); });

  // The answer that starts a thread comes at once, unless both share a processor.
  if (options.thread && platform_.spin().Spare(false)) (*child->page_)->spin_cycles = platform_.spin().StubSpinCycles();
  SharedPage& mine = *page_;
  mine->clone_flags = HostFlags(options);
  mine->clone_slot = stub::SlotAddress(slot.index);
  mine->clone_token = token;
  mine->clone_fd = remote_fd;
  mine->clone_tid = 0;
  {
    MutexLock lock(mu_);
    clone_flags_ = HostFlags(options);
  }
  if (options.thread && (*page_)->frame == 0 && fast_ && StartsInLane(registers_)) {
    child->BeginWithClone(page_);
    clone_ = child;
    forget.Release();
    free_slot.Release();
    return child;
  }
  const Result<void> done = Round(stub::Command::kClone, 0);
  {
    MutexLock lock(mu_);
    clone_flags_.reset();
  }
  TRY(done);
  const int64_t result = mine->result;
  if (result <= 0) return Err(result > -4096 && result < 0 ? static_cast<int>(-result) : EAGAIN);
  const int claimed = static_cast<int>(std::min<int64_t>(result, INT32_MAX));
  if (options.thread) {
    TRY(child->BeginAsThread(claimed));
  } else {
    child->process_->Claim(claimed);
    // From here on the reaper knows whom the end of that number concerns.
    if (child->tid_ < 0 && ::kill(claimed, 0) != 0 && errno == ESRCH) return Err(EAGAIN);
  }
  forget.Release();
  free_slot.Release();
  return child;
}

void GuestThread::PrepareChild(GuestThread& child, const CloneOptions& options) {
  child.cloned_ = true;
  child.registers_ = regs();
  child.registers_.rax = 0;
  child.registers_loaded_ = true;
  if (options.thread) {
    child.process_ = process_;
  } else {
    child.process_ = MakeRef<HostProcess>();
    platform_.ExpectProcess(child.process_);
    child.space_->AddProcess(child.process_);
    if (child.space_ != space_) child.space_->SetNewborn(child.shared_from_this());
  }
  child.process_->AddThread(child.shared_from_this());
}

// A thread need not say hello. Whatever its parent claims, it is a thread of a process that is one and the same to the
// sentry: a stub that gives a wrong number only mixes up its own threads.
Result<void> GuestThread::BeginAsThread(int claimed) {
  if (!process_->HasThread(claimed)) return Err(EAGAIN);
  tid_ = claimed;
  hold_ = Hold::kParked;
  listener_->Add(claimed, shared_from_this());
  {
    MutexLock lock(mu_);
    in_round_ = false;
  }
  // What the fast lane cannot load needs the frame that it has when it is there (Resume).
  return StartsInLane(registers_) ? Result<void>() : EnsureBorn();
}

// The same of one that its creator makes on its way back to the guest: it runs without anybody being told.
void GuestThread::BeginWithClone(RefPtr<SharedPage> creator) {
  creator_page_ = std::move(creator);
  hold_ = Hold::kParked;
  listener_->AddUnbound(shared_from_this());
  MutexLock lock(mu_);
  in_round_ = false;
}

bool GuestThread::Bind() {
  if (tid_ >= 0) return true;
  if (creator_page_ == nullptr) return false;
  const int claimed = __atomic_load_n(&(*creator_page_)->clone_tid, __ATOMIC_SEQ_CST);
  // The host gave the number before the thread ran; a stub that gives another one mixes up its own threads.
  if (claimed <= 0 || !process_->HasThread(claimed) || !listener_->Bind(claimed, shared_from_this())) return false;
  tid_ = claimed;
  return true;
}

// What is still to be made: not one that was given up meanwhile.
RefPtr<GuestThread> GuestThread::TakeClone() {
  RefPtr<GuestThread> child = std::exchange(clone_, nullptr);
  if (child == nullptr) return nullptr;
  MutexLock lock(child->mu_);
  return child->state_ == State::kExited ? nullptr : child;
}

// Makes it now, before something else is done with this thread.
void GuestThread::SettleClone() {
  const RefPtr<GuestThread> child = TakeClone();
  if (child == nullptr) return;
  const Result<void> done = Round(stub::Command::kClone, 0);
  {
    MutexLock lock(mu_);
    clone_flags_.reset();
  }
  const int64_t result = done.ok() ? (*page_)->result : -ESRCH;
  if (result > 0 && child->Bind()) return;
  FailClone(*child, result);
}

// The call is answered with the host's error, which is what the caller would have been told at once.
void GuestThread::FailClone(GuestThread& child, int64_t result) {
  const int error = result > -4096 && result < 0 ? static_cast<int>(-result) : EAGAIN;
  listener_->RemoveUnbound(&child);
  child.MarkDead(0, error);
  SetReturn(-error);
}

// At the creator's next call, in which its number may be overwritten.
void GuestThread::CloneIsOver() {
  const RefPtr<GuestThread> child = std::exchange(cloning_, nullptr);
  if (child == nullptr) return;
  (void)child->Bind();
  in_clone_ = false;
  MutexLock lock(mu_);
  clone_flags_.reset();
}

// One that says hello nevertheless is a host thread that nobody knows, and is killed.
void GuestThread::ForgetChild(GuestThread& child) {
  (void)listener_->TakePending(child.token_);
  (void)child.process_->RemoveThread(&child);
  if (child.process_ == process_) return;
  child.process_->Signal(SIGKILL);
  child.space_->RemoveProcess(child.process_.get());
  child.space_->SetNewborn(nullptr);
  platform_.ForgetProcess(child.process_.get());
}

bool GuestThread::Identify(int tid) {
  if (process_->pid() == 0) {
    process_->Born(tid);
    platform_.AddProcess(process_);
  }
  return process_->HasThread(tid);
}

bool GuestThread::TakeHelloLocked() {
  if (hold_ != Hold::kLoose) return true;
  if (!bell_) return false;
  notification_ = bell_->id;
  hold_ = Hold::kRung;
  bell_.reset();
  in_round_ = false;
  return true;
}

void GuestThread::Hello(const Notification& notification) {
  const int tid = notification.tid;
  const bool genuine = Identify(tid);
  if (genuine) listener_->Add(tid, shared_from_this());
  bool run = false, signal = false, dead = false;
  {
    MutexLock lock(mu_);
    tid_ = tid;
    bell_ = notification;
    dead = dead_ || !genuine;
    run = !dead && state_ == State::kRunning && TakeHelloLocked();
    signal = run && interrupt_;
  }
  if (space_->is_newborn(this)) space_->SetNewborn(nullptr);
  listener_->Wakeup();
  if (dead) {
    LOGF(kWarning, "systrap: child %d: %s", tid, genuine ? "late" : "not what was cloned");
    listener_->Remove(tid, this);
    // It waits in its hello, so the number is still its own.
    (void)::kill(tid, SIGKILL);
    MarkDead(SIGKILL);
  } else if (run) {
    (void)handover_.load(std::memory_order_acquire);
    if (signal) SendControlSignal();
    Resume();
  }
}

// For what is done with a child before it is started.
Result<void> GuestThread::EnsureBorn() {
  if (!cloned_ || started_) return {};
  if (hold_ == Hold::kParked && !std::exchange(arrived_, true)) return Round(stub::Command::kRing, 0);
  if (hold_ != Hold::kLoose) return {};
  TRY(AwaitBirth());
  MutexLock lock(mu_);
  if (!TakeHelloLocked()) return Err(ESRCH);
  return {};
}

int GuestThread::host_tid() {
  if (tid_ < 0 && !Bind() && creator_page_ == nullptr) (void)AwaitBirth();
  return tid_;
}

}  // namespace sandbox::platform::systrap
