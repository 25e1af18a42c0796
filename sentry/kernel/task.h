// Task: one guest thread as the kernel sees it (Linux: struct task_struct). Split by concern over the files of this
// folder: task.cc (life), task_run.cc (trap to reply), task_block.cc, task_signal.cc, task_clone.cc, task_exec.cc,
// task_exit.cc, task_futex.cc.
//
// State marked "own trap" is read and written only while the task's own trap is served, except where a getter marked
// (any) takes mu_ for others. Lock order: tree lock, group's signal lock, mu_.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "platform/arch/coroutine.h"
#include "platform/arch/sigframe.h"
#include "sentry/core/context.h"
#include "sentry/kernel/clone_args.h"
#include "sentry/kernel/keys.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/kernel/ptrace.h"
#include "sentry/kernel/seccomp.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/thread_group.h"
#include "sentry/mm/call_memory.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/vfs/fd_table.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/walk.h"

namespace sandbox {

class Kernel;
class Task;
class Timer;
struct FutexWaiter;
struct CoreThread;
struct LoadedImage;
struct VforkWait;
using TaskRef = RefPtr<Task>;

// A descriptor table and how many live tasks use it: the last one closes all (/proc may hold the table longer).
struct FdTableUsers {
  explicit FdTableUsers(RefPtr<FdTable> t) : table(std::move(t)) {}
  const RefPtr<FdTable> table;
  std::atomic<int> users{1};
};

struct ExecArgs {
  FileRef file;          // from OpenForExec
  std::string filename;  // as given; AT_EXECFN and a script's argument
  std::vector<std::string> argv, envv;
};

// What a system call that a signal interrupted continues with (restart_syscall(2)).
using RestartBlock = std::function<Result<int64_t>(Task&)>;

class Task final : public Context, public platform::TrapHandler, public RefFromThis<Task> {
 public:
  struct Init;  // task_init.h
  explicit Task(Init init);
  ~Task() override;

  // The task behind a context, or null for the kernel's own.
  static Task* Of(Context& context) { return dynamic_cast<Task*>(&context); }

  // --- What system call handlers use. Valid on the task's own trap; other tasks' state goes through the getters
  // marked (any). ---
  Kernel& kernel() const { return kernel_; }
  ThreadGroup& group() const { return *group_; }  // (any)
  platform::Thread& thread() { return *thread_; }
  MemoryManager& mm() { return *mm_; }
  RefPtr<MemoryManager> mm_ref() const;  // (any) null after exit
  FdTable& fds() { return *fds_->table; }
  RefPtr<FdTable> fds_ref() const;  // (any) null after exit
  FsContext& fs() { return *fs_; }
  RefPtr<FsContext> fs_ref() const;           // (any) null after exit
  Namespaces namespaces() const;              // (any) all of them
  RefPtr<MountNamespace> mounts() const;      // (any)
  RefPtr<UtsNamespace> uts() const;           // (any)
  RefPtr<IpcNamespace> ipc() const;           // (any)
  RefPtr<NetNamespace> net() const override;  // (any)
  PidRef pid() const;                         // (any)
  // The namespace the task's own number is of; task->pid()->In(view) is its number in another.
  const PidNamespace& pid_space() const;  // (any)
  int32_t ShownPid(int32_t pid) const override;
  int32_t ActualPid(int32_t number) const override;
  TaskRef Find(int32_t number) const;  // as this task numbers it; null when there is none

  // Where a *at call starts: AT_FDCWD, or a directory descriptor (EBADF; ENOTDIR is the walk's).
  Result<WalkBase> WalkFrom(Fd dirfd);
  WalkBase WalkFromCwd();

  // --- Context. ---
  const Credentials& creds() const override { return *creds_; }  // own trap only
  CredentialsRef creds_ref() const override;                     // (any)
  GuestMemory& memory() override { return call_memory_; }        // own trap only
  uint64_t rlimit(int resource) const override;
  int32_t tgid() const override;
  int32_t tid() const override { return tid_.load(); }
  // Queued when the call returns, so that it may be called with any lock held.
  void RaiseSignal(int signo) override;
  Result<void> Block(const Deadline& deadline) override;
  Result<void> BlockKillable(const Deadline& deadline) override;
  void Wake() override;
  bool Interrupted() const override;

  void SetCredentials(CredentialsRef creds);
  // Tells the platform what it may answer in this task's place; after any change of who the task is or of whether its
  // calls are watched. Own trap, or before the task runs.
  void UpdateLocalIdentity();
  std::string name() const;  // comm, at most 15 bytes (any)
  void SetName(std::string name);

  // --- Signals. ---
  SignalSet signal_mask() const { return mask_.load(); }
  SignalSet blocked_signals() const;   // the same of any task: it may be changing it by itself (any)
  void SetSignalMask(SignalSet mask);  // own trap; SIGKILL and SIGSTOP are dropped
  // For ppoll, pselect, epoll_pwait, sigsuspend: `mask` applies during the call; the old one is back when it returns,
  // or after the handler that interrupted it.
  void SetTemporaryMask(SignalSet mask);
  // Takes one pending signal of `which`, blocked or not (sigtimedwait, signalfd read). Own trap or a reader's.
  std::optional<SignalInfo> TakeSignal(SignalSet which);
  SignalSet pending_signals() const;      // own and the group's (any)
  SignalSet own_pending_signals() const;  // (any)
  // Notified with kReadable when a signal was queued to this task or its group (signalfd, sigtimedwait).
  WaitQueue& signal_events() { return group_->signal_events(); }
  // A fault: delivered now even if blocked or ignored (then the default action). Own trap.
  void ForceSignal(const SignalInfo& info, uint64_t trapno = 0, uint64_t error = 0);
  bool killed() const { return killed_.load(); }  // (any) a fatal signal or exit_group is under way
  // sigaltstack(2), own trap: EINVAL, ENOMEM, EPERM while the thread runs on it.
  arch::SignalStack signal_stack() const;
  Result<void> ChangeSignalStack(const arch::SignalStack& stack);
  // Before the thread runs, and in exec: what the platform may do about signals in this task's place.
  void ShareSignalState();
  // rt_sigreturn(2).
  Result<int64_t> SignalReturn();
  // A call that returns kErestartRestartblock leaves here how to go on.
  void SetRestartBlock(RestartBlock block) { restart_block_ = std::move(block); }
  Result<int64_t> RunRestartBlock();

  // --- Futexes (task_futex.cc). ---
  // Whether futexes are the host's, so that the calls about them are made by the thread itself.
  bool HasHostFutexes() const { return thread_->CanMakeCalls(); }
  // Has the thread make a call about its own futexes; kErestartsys when a signal came in one that sleeps.
  Result<int64_t> MakeHostCall(const platform::HostCall& call, bool sleeps);
  // Wakes a waiter on a word that processes may share. Own trap.
  void WakeOneWaiter(GuestAddr word);
  // How long the call being served has waited before it came here.
  int64_t waited_ns() const { return waited_ns_; }
  void HandleCallEnded() override { Wake(); }

  // --- Seccomp (seccomp.h). ---
  int seccomp_mode() const { return seccomp_mode_.load(std::memory_order_relaxed); }  // (any) SECCOMP_MODE_*
  SeccompState seccomp() const;                                                       // (any)
  // Puts a state whose filter continues the present one in place of it, with `all_threads` on every thread of the
  // group. 0, or the tid of a thread whose own filters forbid that: then nothing has changed. EINVAL for a change of
  // mode.
  Result<int64_t> AttachSeccomp(SeccompState next, bool all_threads);

  // --- Syscall user dispatch (prctl(2), PR_SET_SYSCALL_USER_DISPATCH), own trap: calls from outside of a range, or
  // from inside it, become SIGSYS while the guest's selector byte says so. EINVAL, EFAULT as on Linux. ---
  Result<void> SetUserDispatch(uint64_t mode, GuestAddr start, uint64_t length, GuestAddr selector);

  // --- ptrace(2). What Ptrace::Do's work may use: on the stopped tracee's own thread. ---
  bool traced() const { return traced_.load(std::memory_order_relaxed); }  // (any)
  Result<void> ForceWrite(GuestAddr addr, const void* from, size_t size);  // EIO
  void RegistersChanged();                                                 // after thread().regs() were written

  // --- rseq(2) (task_rseq.cc), own trap. The host keeps the area up to date and aborts critical sections; here is what
  // the guest registered. EINVAL, EPERM, EBUSY, EFAULT as on Linux. ---
  Result<void> RegisterRseq(GuestAddr addr, uint32_t length, uint32_t signature);
  Result<void> UnregisterRseq(GuestAddr addr, uint32_t length, uint32_t signature);

  // --- Life. ---
  // clone(2) and its kin: the child's tid as the caller sees it.
  Result<int32_t> Clone(const CloneArgs& args);
  // unshare(2) of what `flags` names.
  Result<void> Unshare(uint64_t flags);
  // Does not return to the old program when Ok: the trap's result is the new image.
  Result<void> Exec(ExecArgs args);
  // exit(2), exit_group(2): the handler returns normally afterwards, the trap ends the thread.
  void Exit(int wait_status);
  void ExitGroup(int wait_status);
  // setns(2), unshare(2).
  void SetNamespaces(Namespaces spaces, RefPtr<FsContext> fs);

  // --- Accounting (any). ---
  Usage usage() const;
  int64_t start_time_ns() const { return start_time_ns_; }  // CLOCK_BOOTTIME
  enum class State : char {
    kRunning = 'R',
    kSleeping = 'S',
    kStopped = 'T',
    kTracing = 't',
    kZombie = 'Z',
    kDead = 'X'
  };
  State state() const;
  // Number and arguments of the call being served, or nullopt (/proc/*/syscall); -1 number when none.
  int64_t current_syscall() const;

  TaskKeyrings keyrings;

  // --- Attributes a task only stores. ---
  std::atomic<int> nice{0};
  std::atomic<int> sched_policy{0}, sched_priority{0};
  std::atomic<bool> sched_reset_on_fork{false};
  std::atomic<int> ioprio{0};
  std::atomic<int> parent_death_signal{0};
  std::atomic<MemoryPolicy> memory_policy{};  // set_mempolicy(2)
  std::atomic<uint64_t> personality{0};
  std::atomic<uint64_t> timer_slack_ns{50'000}, default_timer_slack_ns{50'000};
  std::atomic<uint64_t> clear_child_tid{0};
  std::atomic<uint64_t> robust_list{0};  // as of the last trap
  uint64_t CurrentRobustList() const;    // (any)
  std::atomic<bool> keep_caps{false}, io_flusher{false};
  std::atomic<int> mce_kill_policy{2};                                                  // PR_MCE_KILL_DEFAULT
  std::atomic<bool> no_new_privs{false};                                                // never taken back
  std::atomic<uint64_t> deadline_runtime_ns{0}, deadline_ns{0}, deadline_period_ns{0};  // SCHED_DEADLINE
  // sched_setaffinity(2): words of a cpu_set_t; empty = all. The host thread follows as far as the host lets it.
  std::vector<uint64_t> cpu_affinity() const;  // (any)
  // The same as far as it is still allowed (Linux: cpuset_cpus_allowed).
  std::vector<uint64_t> usable_cpus() const;        // (any)
  void SetCpuAffinity(std::vector<uint64_t> mask);  // (any)

  // --- platform::TrapHandler. ---
  Served HandleTrap(platform::Thread& thread, const platform::Trap& trap) override;
  Served HandleDeferred(platform::Thread& thread) override;
  // PlatformOptions::after_trap: goes on with the tasks that the calling thread's trap woke.
  static void ProceedWithWoken();

 private:
  friend class Kernel;
  friend class ThreadGroup;
  friend class ProcessTree;
  friend class FutexTable;
  friend struct ChildWaiter;
  friend class Ptrace;

  // --- task_defer.cc. ---
  // Runs the trap's coroutine until it ends or sleeps.
  Served RunCoroutine();
  static void CoroutineMain(void* task);
  void StartNewImage();
  // Before a wait: prepares to leave the sentry thread; false when the trap cannot, and has to sleep on it.
  bool BeginDeferred(const Deadline& deadline);
  void ProceedLater();
  // Before the calling sentry thread sleeps inside a trap: others go on with what it woke.
  static void HandOnWoken();

  // --- task_run.cc. ---
  void RunTrap(const platform::Trap& trap);
  void ServeTrap(const platform::Trap& trap);
  void ServeSyscall(const platform::Trap& trap);
  void ServeFault(const platform::Fault& fault);
  void ServeFailedOp(const platform::Trap& trap);
  void ServeFailedFrame(const platform::Trap& trap);
  // Delivers signals, stops, exits; false when the thread is gone. Afterwards the guest may run.
  bool PrepareToResume();
  bool ServeJobControl();  // false when there was nothing to do
  bool HasWork() const;
  void FinishCall(Result<int64_t> result);

  // --- task_seccomp.cc. ---
  void SetSeccomp(SeccompState state);
  // The result of a call that the filters do not let through.
  // `skip`: a tracer took the call's place.
  std::optional<Result<int64_t>> CheckSeccomp(platform::Trap& trap, bool* skip);
  std::optional<Result<int64_t>> Obey(const SeccompFilter::Verdict& verdict, const SeccompData& data, bool* skip);

  // True when the call was turned into a signal.
  bool DispatchToUser(const platform::Trap& trap);

  // --- task_ptrace.cc. ---
  void LookAtTracer();  // (any) wakes it out of a stop, or makes it trap when ptrace_trap_ is set
  bool TracedWith(uint32_t option) const;
  bool IsSeized() const;
  bool GroupIsStopping() const;
  // `dying`: on the way out, where being killed is no news.
  std::optional<int> PtraceStop(const PtraceReport& report, bool dying = false);
  void SleepInPtraceStop(bool dying);
  void TracedGroupStop(int signo);
  void ReportTrap(int status, uint64_t message, uint8_t syscall_stop);
  void ReportEvent(int event, uint64_t message);
  void ReportExec();
  std::optional<QueuedSignal> ShowToTracer(QueuedSignal signal);
  void ServePtraceTrap();
  void LoadCall(platform::Trap& call);
  void ServeWatchedCall(const platform::Trap& trap);
  std::optional<Result<int64_t>> AskTracer(uint16_t data, bool* skip);

  // --- task_signal.cc. ---
  void DeliverSignals();
  void DeliverOne(const QueuedSignal& signal);
  void ApplyDefault(const SignalInfo& info);
  Result<void> PushFrame(const SignalInfo& info, const SignalAction& action);
  void StoreMask(SignalSet mask);  // with sig_mu_
  void TakeOverState();
  SignalSet LiveMaskLocked() const;  // blocked_signals() with the group's sig_mu_ held
  bool OnSignalStack(uint64_t sp) const;
  void RestartCall(const SignalAction* handler);
  void QueueRaised();
  // Recomputes has_work_ for signals; with the group's sig_mu_ held.
  void RecalcSignalsLocked();
  void KickLocked();

  // --- task_core_dump.cc. ---
  bool DumpCore(const SignalInfo& info);  // whether there is one
  bool StopOthersForCore(int signo, std::vector<CoreThread>& threads);
  CoreThread SnapshotForCore();
  void EnterCoreDump();  // of another thread of the group, if there is one

  // --- task_rseq.cc. ---
  void AbortRseq();  // before a handler runs: a critical section it interrupts starts over
  void NoteRseq(const platform::Thread::Rseq& area);
  void LeaveRseq();  // the thread ends and its memory lives on: queues its ops

  // --- task_block.cc. ---
  enum class Sleep { kInterruptible, kKillable };
  Result<void> BlockAs(Sleep how, const Deadline& deadline);
  void Kick();
  void WakeFor(uint32_t reason);
  void SleepOnThread(uint32_t expected, const Deadline& deadline);
  // Sleep in a stop, which ends with a kick whose reason the caller knows. Wakes meant for a later Block survive it.
  struct StopSleep {
    bool asleep = false, deferred = false;
    uint32_t owed = 0;  // wakes that came meanwhile
  };
  void TakeKicks(StopSleep& sleep);     // then look for reasons
  void SleepInStop(StopSleep& sleep);   // until the next kick
  void RiseFromStop(StopSleep& sleep);  // before anything else is done with the thread
  void EndStop(StopSleep& sleep);
  void StopHere();
  void FreezeHere();

  // --- task_clone.cc, task_exec.cc, task_exit.cc. ---
  void RunExit();
  void LeaveGroup(bool last);
  void EndOfInit();
  void SignalOrphans();
  void CompleteVfork();
  void ReleaseFiles();
  void UnshareFiles();
  void ApplyCpuAffinityLocked() REQUIRES(mu_);
  void UpdateLocalIdentityLocked() REQUIRES(mu_);
  void ReplaceImage(std::unique_ptr<platform::Thread> thread, RefPtr<MemoryManager> mm);
  void ResetForExec(const LoadedImage& image);
  void ReleaseMemory();
  void ReleaseResources();
  void WalkRobustList();
  Result<void> BecomeOnlyThread();
  friend struct TaskCloner;
  friend struct TaskExec;

  Kernel& kernel_;
  const RefPtr<ThreadGroup> group_;
  PidRef pid_;                // mu_; changes once when a non-leader execs
  std::atomic<int32_t> tid_;  // pid_->root()
  const int64_t start_time_ns_;

  // Written by the own trap under mu_; read by others under mu_.
  mutable Mutex mu_{LockRank::kTask};
  std::unique_ptr<platform::Thread> thread_;  // also under the group's sig_mu_: Kick uses it
  RefPtr<MemoryManager> mm_;
  CallMemory call_memory_{thread_, mm_};
  RefPtr<FdTableUsers> fds_;
  RefPtr<FsContext> fs_;
  Namespaces spaces_;
  CredentialsRef creds_;
  SeccompState seccomp_ GUARDED_BY(mu_);
  std::atomic<int> seccomp_mode_{SECCOMP_MODE_DISABLED};
  std::string name_ GUARDED_BY(mu_);
  std::vector<uint64_t> cpu_affinity_ GUARDED_BY(mu_);
  bool host_follows_affinity_ GUARDED_BY(mu_) = true;

  // Group's sig_mu_ for writers.
  PendingSignals pending_;
  std::atomic<SignalSet> mask_{0};
  std::atomic<bool> signal_work_{false};  // a deliverable signal, a stop or an exit is pending
  std::atomic<bool> killed_{false};
  bool stop_joined_ = false;              // counted as stopped
  bool stop_waived_ = false;              // its tracer let it run in spite of the group's stop
  std::atomic<bool> ptrace_trap_{false};  // PTRACE_EVENT_STOP, or the report of an exec, is due
  bool exited_ = false;
  std::atomic<SignalSet> raised_{0};

  // Own trap.
  std::optional<SignalSet> saved_mask_;  // to restore after a temporary mask
  arch::SignalStack signal_stack_;
  RestartBlock restart_block_;
  struct Rseq {
    GuestAddr addr;  // null = none
    uint32_t length = 0, signature = 0;
  } rseq_;
  struct UserDispatch {
    uint64_t mode = 0;  // PR_SYS_DISPATCH_*
    GuestAddr start, selector;
    uint64_t length = 0;
  } user_dispatch_;
  std::atomic<bool> dispatches_to_user_{false};  // its mode is not off
  bool host_thread_dead_ = false;
  uint64_t fault_trapno_ = 0, fault_error_ = 0, fault_address_ = 0;  // for the next frame's sigcontext
  int restart_code_ = 0;                                             // kErestart* of the call that just ended, 0 = none
  uint64_t restart_nr_ = 0, restart_ip_ = 0;
  bool exit_requested_ = false;
  int exit_status_ = 0;
  bool stepping_ = false, trace_syscalls_ = false, emulate_syscalls_ = false;  // as the tracer resumed it
  int32_t exec_from_tid_ = 0;         // an exec that the tracer has not been told of, and the tid before it
  bool serving_trap_ = false;         // inside HandleTrap
  bool start_on_return_ = false;      // exec made a new thread_, which runs when the trap ends
  bool image_is_new_ = false;         // it has not trapped yet: what was queued to make the image may still fail
  std::shared_ptr<VforkWait> vfork_;  // the parent that waits for this task's exec or exit

  // task_defer.cc. The coroutine of the trap under way, if it has one; what it serves; the end of a wait with a
  // deadline.
  std::unique_ptr<arch::Coroutine> coroutine_;
  const platform::Trap* trap_ = nullptr;
  std::unique_ptr<Timer> wait_timer_;

  PtraceState ptrace_;               // tree lock
  std::atomic<bool> traced_{false};  // ptrace_.tracer != nullptr

  // The sleep word of task_block.cc.
  std::atomic<uint32_t> wake_word_{0};
  std::atomic<bool> in_guest_{true};
  std::atomic<char> sleep_state_{'R'};
  std::atomic<int64_t> current_syscall_{-1};
  std::atomic<uint64_t> system_ns_{0}, switches_{0}, old_threads_cpu_ns_{0};
  int64_t slept_ns_ = 0;   // during this trap
  int64_t waited_ns_ = 0;  // before it
};

}  // namespace sandbox
