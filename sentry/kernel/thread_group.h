// ThreadGroup: a process (Linux: struct signal_struct and what hangs off it). Threads, the signals sent to all of
// them, job control, limits, timers, and the place in the process tree.
//
// Two locks: the kernel's tree lock guards relations (parent, children, process group, session, reaping), the group's
// own signal lock guards pending signals, the thread list and stop/exit state. The tree lock is taken first.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/core/wait_queue.h"
#include "sentry/kernel/limits.h"
#include "sentry/kernel/pid_namespace.h"
#include "sentry/kernel/session.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/signal_handlers.h"

namespace sandbox {

class Cgroup;
class Kernel;
class Key;
class ProcessTimers;
class Task;
struct CoreThread;
using TaskRef = RefPtr<Task>;
using ThreadGroupRef = RefPtr<ThreadGroup>;

// What getrusage(2), times(2) and wait4(2) report.
struct Usage {
  uint64_t user_ns = 0, system_ns = 0;
  uint64_t max_rss_bytes = 0;
  uint64_t minor_faults = 0, major_faults = 0;
  uint64_t voluntary_switches = 0;
  void Add(const Usage& other);
  void AddMemory(const platform::AddressSpace::Usage& host);
};

// Who a signal is from, for the rules about pid 1 and ignored signals.
enum class SignalOrigin {
  kGuest,
  kKernel,  // timers, SIGCHLD, SIGPIPE
  kHost,    // runsc kill: as from a parent pid namespace
};

class ThreadGroup final : public RefFromThis<ThreadGroup> {
 public:
  ThreadGroup(Kernel& kernel, PidRef pid, RefPtr<Cgroup> cgroup, RefPtr<SignalHandlers> handlers,
              const LimitSet& limits);
  ~ThreadGroup();

  Kernel& kernel() const { return kernel_; }
  int32_t tgid() const { return tgid_; }  // in the root pid namespace
  const PidRef& pid() const { return pid_; }
  Cgroup& cgroup() const { return *cgroup_; }

  // --- Threads (any). ---
  TaskRef leader() const;              // also as a zombie; null once reaped
  std::vector<TaskRef> tasks() const;  // those that have not exited
  int thread_count() const;

  // --- The process tree (any; a snapshot), in the root pid namespace's numbers. 0 for no parent. ---
  int32_t ppid() const;
  int32_t pgid() const;
  int32_t sid() const;
  uint64_t terminal_device() const;  // 0 = none
  int32_t foreground_pgid() const;   // of its terminal; -1 = none
  std::vector<int32_t> child_tgids() const;
  ThreadGroupRef parent() const;
  bool is_session_leader() const { return sid() == tgid_; }
  // A zombie has exited and waits to be reaped.
  bool zombie() const { return zombie_.load(); }
  // Linux wait status, once zombie.
  int exit_status() const { return exit_status_.load(); }

  // --- Signals (any). Permission was checked by the caller. ---
  // To the process: any thread may take it. EAGAIN when the queue of a real-time signal is full.
  Result<void> SendSignal(const SignalInfo& info, SignalOrigin origin = SignalOrigin::kGuest);
  // To one thread.
  Result<void> SendSignalTo(Task& task, const SignalInfo& info, SignalOrigin origin = SignalOrigin::kGuest);
  // A POSIX timer's signal, to the group or to `task`; EBUSY when its last one was not taken yet.
  Result<void> SendTimerSignal(Task* task, const QueuedSignal& signal);
  // sigaction(2) made a signal ignored: pending ones are dropped.
  void DispositionChanged(int signo, const SignalAction& action);
  // Tells the platform which actions its threads may answer for.
  void ShowActionsLocked() REQUIRES(sig_mu_);
  void DiscardTimerSignal(const void* timer);
  RefPtr<SignalHandlers> handlers() const;
  SignalSet shared_pending() const;
  bool stopped() const;  // by job control
  // Ends the whole group with a wait status, as exit_group(2) or a fatal signal does. First caller wins.
  void BeginGroupExit(int wait_status);
  bool exiting() const { return exiting_.load(); }
  // Its control group was frozen: every thread stops on its way back to the guest.
  void LookAtFreezer();

  Limits& limits() { return limits_; }
  // CPU time of all threads, dead ones included, and memory of the address spaces that the process has left: Usage::
  // AddMemory adds that of the present one. And the same of reaped children.
  Usage usage() const;
  void AddMemoryUsage(const platform::AddressSpace::Usage& host);  // leaves one
  Usage children_usage() const;
  uint64_t cpu_time_ns() const;
  int64_t start_time_ns() const { return start_time_ns_; }  // CLOCK_BOOTTIME

  std::atomic<int> oom_score_adj{0};
  std::atomic<bool> child_subreaper{false};
  std::atomic<bool> thp_disabled{false};  // PR_SET_THP_DISABLE
  RefPtr<Key> process_keyring;            // guarded by the lock of Keys
  // Set by the first exec; setpgid of a child after it is EACCES.
  std::atomic<bool> did_exec{false};
  std::atomic<uint64_t> bytes_read{0}, bytes_written{0}, read_calls{0}, write_calls{0};  // /proc/*/io

  // A child changed state. Notified with kEventIn; wait4 and pidfds of this group's children sleep here.
  WaitQueue& child_events() { return child_events_; }
  // This group became a zombie (pidfd readiness: kReadable).
  WaitQueue& exit_events() { return exit_events_; }

  // A signal was queued to the group or one of its threads (kReadable).
  WaitQueue& signal_events() { return signal_events_; }

  // Interval and POSIX timers; made on first use.
  ProcessTimers& timers();

 private:
  friend class Kernel;
  friend class Task;
  friend class JobControl;
  friend class Ptrace;
  friend struct ChildWaiter;
  friend struct TaskCloner;
  friend struct TaskExec;
  friend class ProcessTree;

  // --- thread_group_signal.cc, with sig_mu_ held. ---
  Result<void> SendLocked(Task* target, const QueuedSignal& signal, SignalOrigin origin) REQUIRES(sig_mu_);
  bool IgnoredLocked(const Task* target, int signo, SignalOrigin origin) REQUIRES(sig_mu_);
  void PrepareLocked(int signo) REQUIRES(sig_mu_);
  void WakeForLocked(Task* target, int signo, SignalOrigin origin) REQUIRES(sig_mu_);
  void BeginGroupExitLocked(int wait_status) REQUIRES(sig_mu_);
  bool QueueFullLocked() const REQUIRES(sig_mu_);

  // --- job_control.cc. ---
  void BeginStopLocked(int signo) REQUIRES(sig_mu_);
  void ThreadStoppedLocked() REQUIRES(sig_mu_);
  void ContinueLocked() REQUIRES(sig_mu_);
  // SIGCHLD and a wake-up for the parent about a stop or a continuation. No lock held.
  void NotifyParentOfJobControl(int code, int status);

  Kernel& kernel_;
  const PidRef pid_;
  const RefPtr<Cgroup> cgroup_;
  const int32_t tgid_;  // pid_->root()
  const int64_t start_time_ns_;
  Limits limits_;

  mutable Mutex sig_mu_{LockRank::kThreadGroup};
  std::vector<Task*> tasks_ GUARDED_BY(sig_mu_);  // not exited; changed under the tree lock too
  RefPtr<SignalHandlers> handlers_ GUARDED_BY(sig_mu_);
  PendingSignals pending_ GUARDED_BY(sig_mu_);
  Task* signal_target_ GUARDED_BY(sig_mu_) = nullptr;  // where the search for a taker starts

  // Job control. `stopping_` counts threads that have yet to stop.
  bool stop_requested_ GUARDED_BY(sig_mu_) = false;
  bool stop_complete_ GUARDED_BY(sig_mu_) = false;
  int stopping_ GUARDED_BY(sig_mu_) = 0;
  int stop_signal_ GUARDED_BY(sig_mu_) = 0;
  bool stop_unreported_ GUARDED_BY(sig_mu_) = false;      // for wait with WUNTRACED
  bool continue_unreported_ GUARDED_BY(sig_mu_) = false;  // for wait with WCONTINUED
  int pending_notice_ GUARDED_BY(sig_mu_) = 0;            // CLD_STOPPED or CLD_CONTINUED the parent is owed
  bool unkillable_ GUARDED_BY(sig_mu_) = false;           // pid 1: default actions do not apply

  std::atomic<bool> exiting_{false};
  int group_status_ GUARDED_BY(sig_mu_) = 0;
  Task* exec_task_ GUARDED_BY(sig_mu_) = nullptr;                        // the thread that is becoming the only one
  std::vector<CoreThread>* core_threads_ GUARDED_BY(sig_mu_) = nullptr;  // where threads that end for a dump enter
  int live_ GUARDED_BY(sig_mu_) = 0;                                     // threads that have not begun to exit
  Task* leader_task_ GUARDED_BY(sig_mu_) = nullptr;
  int leader_status_ GUARDED_BY(sig_mu_) = 0;
  std::atomic<bool> zombie_{false};
  std::atomic<int> exit_status_{0};

  // Tree lock.
  ThreadGroup* parent_ = nullptr;
  int32_t parent_tid_ = 0;  // the thread that made it (__WNOTHREAD, PR_SET_PDEATHSIG)
  int exit_signal_ = 0;     // to the parent; 0 = none
  std::map<int32_t, ThreadGroupRef> children_;
  std::vector<TaskRef> tracees_;  // of any of its threads (ptrace.h)
  RefPtr<ProcessGroup> process_group_;
  TaskRef leader_;  // until reaped
  bool reaped_ = false;

  mutable Mutex usage_mu_{LockRank::kLeaf};
  Usage dead_threads_ GUARDED_BY(usage_mu_);
  Usage reaped_children_ GUARDED_BY(usage_mu_);

  WaitQueue child_events_, exit_events_, signal_events_;
  std::unique_ptr<ProcessTimers> timers_;
};

}  // namespace sandbox
