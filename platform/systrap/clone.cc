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
  if (options.thread) return CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM;
  // vfork too: not a thread, since a fault in the child would kill the parent.
  if (options.share_memory) return CLONE_VM | CLONE_PARENT | SIGCHLD;
  return CLONE_PARENT | SIGCHLD;
}

Result<uint64_t> RandomToken() {
  uint64_t token = 0;
  if (::getrandom(&token, sizeof(token), 0) != sizeof(token)) return Err(EAGAIN);
  return token;
}

}  // namespace

bool GuestThread::ApproveClone(const Notification& notification) {
  {
    MutexLock lock(mu_);
    // One clone for each approval. The new stack (argument 1) is the guest's own affair; parent tid, child tid and
    // TLS are only used with flags that are not there.
    if (!in_round_ || !clone_flags_ || notification.args[0] != *clone_flags_) return false;
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
  {
    MutexLock lock(mu_);
    clone_flags_ = HostFlags(options);
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
  return registers_.gs_base != 0 || registers_.rip >> 47 != 0 ? EnsureBorn() : Result<void>();
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
  if (tid_ < 0) (void)AwaitBirth();
  return tid_;
}

}  // namespace sandbox::platform::systrap
