// Children. The stub clones itself; the filter notifies every clone, and only the one that this thread was told to
// make is let through, with exactly its flags. CLONE_PARENT children are not tied to their parent by the kernel, so a
// child proves itself with a random token that only its parent was given.
#include <sched.h>
#include <sys/random.h>

#include <csignal>

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
  const bool shares = options.share_memory || options.thread;
  const uint64_t token = TRY(RandomToken());
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
  listener_->AddPending(token, child);
  auto forget = Cleanup([&] { (void)listener_->TakePending(token); });

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
  TRY(child->AwaitChild(static_cast<int>(std::min<int64_t>(result, INT32_MAX))));
  TRY(BindChild(*child, options));
  free_slot.Release();
  return child;
}

// Waits for a child that its parent claims to have made as host thread `claimed`.
Result<void> GuestThread::AwaitChild(int claimed) {
  claimed_tid_ = claimed;
  if (TRY(AwaitBell()) != stub::Bell::kHello) return Err(EAGAIN);
  LoadRegisters();
  return {};
}

// The child rang; makes it a member of its process, after a look at whether the host agrees that it is one.
Result<void> GuestThread::BindChild(GuestThread& child, const CloneOptions& options) {
  const int tid = child.tid_;
  const auto refuse = [&](const char* why) -> Errno {
    LOGF(kWarning, "systrap: child %d of %d: %s", tid, tid_.load(), why);
    listener_->Remove(tid, &child);
    // It waits in its hello, so the number is still its own.
    (void)::kill(tid, SIGKILL);
    return Errno(EAGAIN);
  };
  if (options.thread) {
    if (!process_->HasThread(tid)) return refuse("not a thread of its parent's process");
    child.process_ = process_;
  } else {
    const RefPtr<HostProcess> process = platform_.AddProcess(tid);
    if (!process->HasThread(tid)) return refuse("not a process");
    child.process_ = process;
    child.space_->AddProcess(process);
  }
  child.process_->AddThread(child.shared_from_this());
  child.registers_ = regs();
  child.registers_.rax = 0;
  child.registers_loaded_ = true;
  return {};
}

}  // namespace sandbox::platform::systrap
