// The end of a thread and of its group (Linux: kernel/exit.c do_exit).
#include <linux/ptrace.h>

#include <algorithm>

#include "abi/futex.h"
#include "base/host_futex.h"
#include "sentry/kernel/child_wait.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/sysv_sem.h"
#include "sentry/kernel/task_init.h"

namespace sandbox {

void Task::Exit(int wait_status) {
  exit_requested_ = true;
  exit_status_ = wait_status;
}

void Task::ExitGroup(int wait_status) {
  exit_requested_ = true;
  exit_status_ = wait_status;
  group_->BeginGroupExit(wait_status);
}

void Task::CompleteVfork() {
  if (const auto vfork = std::exchange(vfork_, nullptr)) vfork->Complete();
}

void Task::ReleaseMemory() {
  WalkRobustList();
  // set_tid_address(2): tells a joiner. Written only when somebody else shares the memory (Linux: mm_release).
  const GuestAddr tid_addr(mm_.use_count() > 1 ? clear_child_tid.load() : 0);
  clear_child_tid.store(0);
  if (!thread_->ClearAtExit(tid_addr)) {
    // Fails when the guest unmapped its rseq area first: then the host's threads are its loss.
    (void)thread_->FlushMemoryOps();
    if (!tid_addr.IsNull()) {
      (void)OutPtr<int32_t>(tid_addr).Write(*mm_, 0);
      WakeOneWaiter(tid_addr);
    }
  }
  kernel_.futexes().OwnerExits(*this);
  CompleteVfork();
}

void Task::ReleaseFiles() {
  RefPtr<FdTableUsers> files;
  {
    MutexLock lock(mu_);
    files = std::exchange(fds_, nullptr);
  }
  if (files != nullptr && files->users.fetch_sub(1) == 1) files->table->CloseAll(*this);
}

void Task::ReleaseResources() {
  ReleaseFiles();
  RefPtr<MemoryManager> mm;
  RefPtr<FsContext> fs;
  Namespaces spaces;
  SeccompState seccomp;
  MutexLock lock(mu_);
  mm.swap(mm_);
  fs.swap(fs_);
  std::swap(spaces, spaces_);
  std::swap(seccomp, seccomp_);
}

// PR_SET_PDEATHSIG: about the thread that made the child, not its process.
void Task::SignalOrphans() {
  MutexLock tree(kernel_.tree_lock());
  for (const auto& [tgid, child] : group_->children_) {
    if (child->parent_tid_ != tid()) continue;
    for (const TaskRef& task : child->tasks()) {
      if (const int signo = task->parent_death_signal.load(); signo != 0) {
        (void)child->SendSignal(SignalInfo::User(signo, group_->pid()->In(child->pid()->space()), 0),
                                SignalOrigin::kKernel);
      }
    }
    child->parent_tid_ = group_->tgid_;
  }
}

// Nothing outlives a namespace's pid 1 (Linux: zap_pid_ns_processes).
void Task::EndOfInit() {
  PidNamespace& space = group_->pid_->space();
  std::vector<ThreadGroupRef> zombies;
  {
    MutexLock tree(kernel_.tree_lock());
    if (space.init != group_.get()) return;
    SignalAction ignore;
    ignore.handler = 1;  // SIG_IGN
    group_->handlers()->Set(SIGCHLD, ignore);
    space.init = nullptr;
    space.dying = true;
    for (const auto& [tgid, child] : group_->children_) {
      if (child->zombie()) zombies.push_back(child);
    }
    for (const ThreadGroupRef& zombie : zombies) ProcessTree::ReapLocked(*zombie);
  }
  kernel_.KillAll(group_.get(), space);
  // A task that cannot die (a hung host call) must not keep the sandbox for ever.
  const int64_t deadline = MonotonicNow().ns + 10'000'000'000;
  if (!start_on_return_) thread_->BeginBlock();
  HandOnWoken();
  for (;;) {
    const uint32_t seen = kernel_.departures_.load();
    if (kernel_.OnlyGroupLeft(*group_, space) || MonotonicNow().ns >= deadline) break;
    HostFutexWait(kernel_.departures_, seen, deadline);
  }
  if (!start_on_return_) thread_->EndBlock();
}

void Task::RunExit() {
  // Threads that die with others do not stop once more.
  if (traced() && exit_requested_ && !host_thread_dead_ && TracedWith(PTRACE_O_TRACEEXIT)) {
    ReportEvent(PTRACE_EVENT_EXIT, static_cast<uint64_t>(exit_status_));
  }
  EnterCoreDump();
  bool group_dead;
  {
    MutexLock lock(group_->sig_mu_);
    group_dead = --group_->live_ == 0;
    // The group's end has a status even if nobody called exit_group: the leader's.
    if (this == group_->leader_task_) group_->leader_status_ = exit_status_;
  }
  if (group_dead) {
    if (group_->timers_ != nullptr) group_->timers_->CancelAll();
    SemTable::ProcessEnded(*ipc(), tgid());
    EndOfInit();
  }
  if (group_dead && !host_thread_dead_ && !start_on_return_) group_->AddMemoryUsage(thread_->OwnUsage());
  LeaveRseq();
  ReleaseMemory();
  SignalOrphans();
  Ptrace::TracerExits(*this);
  const Usage last_usage = usage();
  ReleaseResources();
  std::unique_ptr<platform::Thread> thread;
  bool last, stopped = false;
  int stop_signal = 0;
  {
    MutexLock lock(group_->sig_mu_);
    exited_ = true;
    std::erase(group_->tasks_, this);
    if (group_->signal_target_ == this) group_->signal_target_ = nullptr;
    last = group_->tasks_.empty();
    if (group_->stop_requested_ && !stop_joined_ && !last) {
      group_->ThreadStoppedLocked();
      stopped = group_->stop_complete_;
      stop_signal = group_->stop_signal_;
    }
    if (group_->exec_task_ != nullptr && group_->exec_task_ != this) group_->exec_task_->Wake();
    // Signals this thread was to take.
    for (Task* other : group_->tasks_) {
      if (group_->pending_.set() & ~other->LiveMaskLocked()) other->KickLocked();
    }
    MutexLock own(mu_);
    thread = std::move(thread_);
  }
  sleep_state_.store('Z');
  {
    MutexLock lock(group_->usage_mu_);
    group_->dead_threads_.Add(last_usage);
  }
  thread->Exit();
  thread.reset();
  if (stopped) group_->NotifyParentOfJobControl(CLD_STOPPED, stop_signal);
  LeaveGroup(last);
}

void Task::LeaveGroup(bool last) {
  const ThreadGroupRef group = group_;
  const bool is_leader = tid() == group->tgid_;
  int status = exit_status_;
  if (killed_.load()) {
    MutexLock lock(group->sig_mu_);
    status = group->group_status_;
  }
  if (!is_leader && !Ptrace::ThreadExited(*this, status)) {
    MutexLock tree(kernel_.tree_lock());
    kernel_.ForgetTaskLocked(*this);
  }
  if (!last) group->exit_events_.Notify(kReadable);  // pidfds of the thread
  if (last) {
    {
      MutexLock lock(group->sig_mu_);
      group->exit_status_.store(group->exiting_.load() ? group->group_status_ : group->leader_status_);
    }
    ProcessTree::GroupExited(*group);
  }
}

uint64_t Task::CurrentRobustList() const {
  MutexLock lock(mu_);
  const auto settled = thread_ != nullptr ? thread_->SettledRobustList() : std::nullopt;
  return settled.value_or(robust_list.load());
}

// Marks the robust mutexes the thread still holds (robust_list(2), Linux: exit_robust_list).
void Task::WalkRobustList() {
  const GuestAddr head_addr(robust_list.exchange(0));
  if (head_addr.IsNull()) return;
  const auto head = InPtr<abi::RobustListHead>(head_addr).Read(*mm_);
  if (!head.ok()) return;
  const auto address = [&](uint64_t entry) { return GuestAddr((entry & ~uint64_t{1}) + head->futex_offset); };
  constexpr int kMaxEntries = 2048;  // the list may be circular or hostile
  uint64_t entry = head->next;
  for (int i = 0; i < kMaxEntries && (entry & ~uint64_t{1}) != head_addr.value(); ++i) {
    // The next link is read first: waking the owner of this entry may free it.
    const auto next = InPtr<uint64_t>(GuestAddr(entry & ~uint64_t{1})).Read(*mm_);
    if (entry != head->pending) kernel_.futexes().OwnerDied(*this, address(entry), entry & 1);
    if (!next.ok()) return;
    entry = *next;
  }
  if (head->pending != 0) kernel_.futexes().OwnerDied(*this, address(head->pending), head->pending & 1);
}

}  // namespace sandbox
