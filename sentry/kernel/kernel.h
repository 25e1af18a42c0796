// Kernel: everything that exists once per sandbox. The pid table, the process tree's lock, futexes, and what the host
// side of runsc asks for: start a process, wait for it, signal it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/core/credentials.h"
#include "sentry/kernel/cgroup.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/limits.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/kernel/session.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/thread_group.h"
#include "sentry/mm/text_cache.h"
#include "sentry/vfs/fd_table.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/mount.h"

namespace sandbox {

struct LoadedImage;

// Runs one system call (syscalls/table.h: Dispatch). The kernel sits below the table, so it is handed in.
using SyscallDispatcher = Result<int64_t> (*)(Task& task, uint64_t nr, const std::array<uint64_t, 6>& args);

struct KernelOptions {
  std::unique_ptr<platform::Platform> platform;
  SyscallDispatcher dispatch = nullptr;
  std::string hostname = "runsc";
  std::string domainname = "(none)";
  bool strace = false;        // trace calls to the debug log
  bool rewrite = true;        // rewrite call sites when the platform can
  int32_t pid_max = 4194304;  // /proc/sys/kernel/pid_max; a new pid namespace's default
  CgroupLimits limits;        // of the first container
  CgroupHost cgroup;
};

struct CreateProcessArgs {
  std::string filename;  // looked up in PATH of envv when it has no slash
  std::vector<std::string> argv, envv;
  std::string cwd = "/";  // guest path
  RefPtr<MountNamespace> mounts;
  CredentialsRef creds;  // null = root with all capabilities
  bool no_new_privs = false;
  RefPtr<const SeccompFilter> seccomp;  // what the process starts under (SeccompFilter::Make), or null
  RefPtr<FdTable> fds;                  // null = empty
  LimitSet limits = DefaultLimits();
  uint32_t umask = 022;
  RefPtr<ControllingTerminal> terminal;  // becomes the new session's, or null
  int oom_score_adj = 0;
  RefPtr<UtsNamespace> uts;   // null = init's
  RefPtr<IpcNamespace> ipc;   // null = init's
  RefPtr<PidNamespace> pids;  // null = the root
  RefPtr<Cgroup> cgroup;      // null = the first container's
  // The init of its pid namespace: number 1, whose end ends every other process. Otherwise a process beside it (runsc
  // exec).
  bool init = true;
  // Signals without a handler are dropped for pid 1, as Linux does. `runsc do` turns it off so that ^C works.
  bool shield_init = true;
  // Loaded only; whoever asked starts its thread.
  bool hold = false;
};

class Kernel {
 public:
  static Result<std::unique_ptr<Kernel>> Create(KernelOptions options);
  ~Kernel();

  platform::Platform& platform() { return *platform_; }
  const KernelOptions& options() const { return options_; }
  const RefPtr<TextCache>& text_cache() const { return text_cache_; }  // null = no text is rewritten

  // --- Host side. ---
  // Loads and starts a process. Errors are those of execve(2) and chdir(2).
  Result<TaskRef> CreateProcess(CreateProcessArgs args);
  // Blocks the calling host thread until the group is a zombie; reaps it when the host started it. Wait status.
  int WaitForExit(ThreadGroup& group);
  void OnExit(ThreadGroup& group, std::function<void(int wait_status)> done);
  // As from outside the sandbox. ESRCH when nobody is there.
  Result<void> SendSignal(int32_t tgid, int signo);
  Result<void> SendSignalToProcessGroup(int32_t pgid, int signo);
  Result<void> SendSignalToForeground(ControllingTerminal& terminal, int signo);
  // SIGKILL to every process but `except`.
  void KillAll(ThreadGroup* except = nullptr);
  void KillAll(ThreadGroup* except, const PidNamespace& space);  // those in `space`

  // --- The pid table (any). ---
  TaskRef FindTask(int32_t tid) const;           // threads too; zombies included
  ThreadGroupRef FindGroup(int32_t tgid) const;  // by the leader's pid
  std::vector<ThreadGroupRef> Groups() const;    // ascending pid, zombies included
  std::vector<ThreadGroupRef> GroupsOfProcessGroup(int32_t pgid) const;
  TaskRef init(const PidNamespace& space) const;  // leader of its pid 1's group, or null
  int task_count() const;
  // A number of the root pid namespace as `view` has it, and back: of a task, a process group or a session. 0 = none.
  int32_t NumberIn(const PidNamespace& view, int32_t pid) const;
  int32_t PidOf(const PidNamespace& view, int32_t number) const;
  PidRef FindPid(int32_t pid) const { return root_pids_->Find(pid); }
  const RefPtr<PidNamespace>& root_pids() const { return root_pids_; }
  const RefPtr<CgroupNamespace>& cgroup() const { return cgroup_; }
  const RefPtr<Cgroup>& first_cgroup() const { return first_cgroup_; }

  // --- Facts for /proc and sysinfo. ---
  int64_t boot_time_ns() const { return boot_time_ns_; }  // CLOCK_REALTIME at the kernel's start
  int64_t start_monotonic_ns() const { return start_monotonic_ns_; }
  std::array<double, 3> load_averages();
  uint64_t forks() const { return forks_.load(); }  // processes and threads made since boot
  int running_tasks() const;
  const RefPtr<UtsNamespace>& uts() const { return uts_; }  // init's
  const RefPtr<IpcNamespace>& ipc() const { return ipc_; }

  // Linux's tasklist_lock. Outermost of the guest-facing locks.
  Mutex& tree_lock() const TSA(lock_returned(tree_mu_)) { return tree_mu_; }
  FutexTable& futexes() { return futexes_; }
  // RLIMIT_NPROC accounting when a task's real uid changes.
  void MoveUserTask(uint32_t from_uid, uint32_t to_uid);

 private:
  friend class ThreadGroup;
  friend class Task;
  friend class JobControl;
  friend class Ptrace;
  friend struct ChildWaiter;
  friend class ProcessTree;
  friend struct TaskCloner;
  friend struct TaskExec;

  explicit Kernel(KernelOptions options);
  TaskRef FindTaskLocked(int32_t tid) const REQUIRES(tree_mu_);
  ThreadGroupRef FindGroupLocked(int32_t tgid) const REQUIRES(tree_mu_);
  RefPtr<ProcessGroup> FindProcessGroupLocked(int32_t pgid) const REQUIRES(tree_mu_);
  struct PidRequest {
    const Credentials& creds;
    uint64_t nproc_limit;
    bool privileged;  // nproc_limit does not hold
    RefPtr<PidNamespace> space;
    Cgroup& cgroup;
    std::vector<int32_t> wanted = {};  // clone3's set_tid: innermost first
  };
  // Numbers for a new task: EAGAIN at the pids limit or RLIMIT_NPROC, ENOMEM when its namespace has ended, EEXIST.
  Result<PidRef> ReservePid(const PidRequest& request) EXCLUDES(tree_mu_);
  void ReleasePid(Cgroup& cgroup, uint32_t uid) EXCLUDES(tree_mu_);
  void ReleasePidLocked(Cgroup& cgroup, uint32_t uid) REQUIRES(tree_mu_);
  bool OnlyGroupLeft(const ThreadGroup& group, const PidNamespace& space) const;
  void StartLoaded(const TaskRef& task, const CreateProcessArgs& args, const LoadedImage& image);
  // The task is gone for good: frees its pid.
  void ForgetTaskLocked(Task& task) REQUIRES(tree_mu_);

  KernelOptions options_;
  const std::unique_ptr<platform::Platform> platform_;
  const RefPtr<TextCache> text_cache_;
  const int64_t boot_time_ns_, start_monotonic_ns_;
  RefPtr<UtsNamespace> uts_;
  RefPtr<IpcNamespace> ipc_;
  const RefPtr<PidNamespace> root_pids_;
  const RefPtr<CgroupNamespace> cgroup_;
  const RefPtr<Cgroup> first_cgroup_;
  FutexTable futexes_;
  std::atomic<uint64_t> forks_{0};

  mutable Mutex tree_mu_{LockRank::kTaskTree};
  std::map<int32_t, TaskRef> tasks_ GUARDED_BY(tree_mu_);
  std::map<int32_t, std::weak_ptr<ProcessGroup>> process_groups_ GUARDED_BY(tree_mu_);
  std::map<uint32_t, int> tasks_of_user_ GUARDED_BY(tree_mu_);  // RLIMIT_NPROC, by real uid
  std::map<ThreadGroup*, std::vector<std::function<void(int)>>> exit_callbacks_ GUARDED_BY(tree_mu_);
  Mutex load_mu_{LockRank::kLeaf};
  std::array<double, 3> loads_ GUARDED_BY(load_mu_) = {};
  int64_t load_updated_ns_ GUARDED_BY(load_mu_) = 0;
  std::atomic<uint32_t> departures_{0};  // counts tasks that left; the end of pid 1 sleeps on it
};

}  // namespace sandbox
