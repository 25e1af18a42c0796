// execve(2) (Linux: fs/exec.c). The new image is built in a fresh address space while the old one is still whole, so
// that every error before the switch is an ordinary errno.
#include <sys/personality.h>

#include "base/cleanup.h"
#include "sentry/kernel/exec_credentials.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/task_init.h"
#include "sentry/loader/loader.h"
#include "sentry/vfs/permissions.h"

namespace sandbox {

Result<void> Task::BecomeOnlyThread() {
  ThreadGroup& group = *group_;
  {
    MutexLock lock(group.sig_mu_);
    if (group.exiting_.load() || group.exec_task_ != nullptr) return Err(kErestartnointr);
    group.exec_task_ = this;
    for (Task* other : group.tasks_) {
      if (other == this) continue;
      other->killed_.store(true);
      other->KickLocked();
    }
  }
  Result<void> alone;
  for (;;) {
    if (group.thread_count() == 1) break;
    if (alone = BlockKillable(std::nullopt); !alone.ok()) break;
  }
  MutexLock tree(kernel_.tree_lock());
  MutexLock lock(group.sig_mu_);
  group.exec_task_ = nullptr;
  if (!alone.ok()) return alone;
  if (tid() == group.tgid()) return {};
  // The survivor takes the leader's place and number (Linux: de_thread).
  const TaskRef old_leader = std::exchange(group.leader_, shared_from_this());
  group.leader_task_ = this;
  if (old_leader != nullptr) Ptrace::UnlinkLocked(*old_leader);
  kernel_.tasks_.erase(tid());
  kernel_.ReleasePidLocked(group.cgroup(), creds_->uid);
  {
    MutexLock own(mu_);
    pid_ = group.pid_;
  }
  tid_.store(group.tgid());
  kernel_.tasks_[group.tgid()] = shared_from_this();
  return {};
}

namespace {

constexpr uint64_t kClearOnSetId = READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | MMAP_PAGE_ZERO;

// The last component of a path, for comm.
std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Result<void> Task::Exec(ExecArgs args) {
  const int32_t old_tid = tid();
  std::unique_ptr<platform::Thread> thread = TRY(kernel_.platform().NewProcess(*this));
  Cleanup drop_thread([&] { thread->Exit(); });
  group_->cgroup().Adopt(thread->host_tid());
  auto mm = MakeRef<MemoryManager>(thread->address_space(), kernel_.platform().guest_range(), kernel_.text_cache());
  mm->set_core_filter(mm_->core_filter());
  mm->set_mdwe(mm_->InheritedMdwe());
  LoadArgs load;
  load.file = std::move(args.file);
  load.filename = args.filename;
  load.argv = std::move(args.argv);
  load.envv = std::move(args.envv);
  load.base = WalkFromCwd();
  load.randomize = !(personality.load() & ADDR_NO_RANDOMIZE);
  load.identify = [this](const FileRef& executable) { return CredentialsForExec(*this, executable); };
  const LoadedImage image = TRY(Load(*this, *mm, *thread, load));
  TRY(BecomeOnlyThread());
  // The point of no return.
  drop_thread.Release();
  group_->AddMemoryUsage(thread_->OwnUsage());
  ReleaseMemory();
  UnshareFiles();
  fds_->table->CloseOnExec(*this);
  thread->regs().set_ip(image.entry.value());
  thread->regs().set_sp(image.stack.value());
  ReplaceImage(std::move(thread), std::move(mm));
  ResetForExec(image);
  SetName(BaseName(args.filename));
  stepping_ = false;
  exec_from_tid_ = traced() ? old_tid : 0;
  return {};
}

void Task::ReplaceImage(std::unique_ptr<platform::Thread> thread, RefPtr<MemoryManager> mm) {
  old_threads_cpu_ns_.fetch_add(thread_->CpuTimeNs());
  {
    MutexLock lock(group_->sig_mu_);
    MutexLock own(mu_);
    thread_.swap(thread);
    mm_.swap(mm);
    ApplyCpuAffinityLocked();
  }
  start_on_return_ = true;
  thread->Exit();
}

void Task::ResetForExec(const LoadedImage& image) {
  if (group_->timers_ != nullptr) group_->timers_->DeletePosixTimers();
  {
    MutexLock lock(group_->sig_mu_);
    if (group_->handlers_.use_count() > 1) group_->handlers_ = group_->handlers_->Fork();
    group_->handlers_->ResetCaught();
  }
  {
    MutexLock tree(kernel_.tree_lock());
    group_->exit_signal_ = SIGCHLD;
  }
  signal_stack_ = {.flags = SS_DISABLE};
  restart_block_ = nullptr;
  rseq_ = {};
  user_dispatch_ = {};
  dispatches_to_user_.store(false);
  Keys::Get().LeaveImage(*this);
  robust_list.store(0);
  clear_child_tid.store(0);
  keep_caps.store(false);
  if (image.secure) parent_death_signal.store(0);
  // An image says itself whether it needs executable data; a privileged one takes nothing over.
  personality.fetch_and(image.secure ? ~uint64_t{kClearOnSetId} : ~uint64_t{READ_IMPLIES_EXEC});
  // A program its user may not read, or with privilege, is no open book (PR_SET_DUMPABLE, ptrace).
  const bool readable = image.executable == nullptr || !image.executable->path().inode() ||
                        image.executable->path().inode()->CheckAccess(*this, R_OK).ok();
  mm_->set_dumpable(readable && !image.secure);
  SetCredentials(image.creds);
  ShareSignalState();
  group_->did_exec.store(true);
}

}  // namespace sandbox
