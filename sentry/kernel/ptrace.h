// Tracing of tasks by tasks (ptrace(2), Linux: kernel/ptrace.c). All links and states are guarded by the kernel's tree
// lock. A stopped tracee sleeps in its own trap (task_ptrace.cc); what its tracer wants to do to registers or memory is
// handed to it and done on its own thread, where the platform allows it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/kernel/signal.h"

namespace sandbox {

class Task;
class ThreadGroup;

// Why a tracee stopped, as wait(2) tells it.
struct PtraceReport {
  int status = 0;        // signal, | 0x80 with PTRACE_O_TRACESYSGOOD, | PTRACE_EVENT_* << 8
  uint64_t message = 0;  // PTRACE_GETEVENTMSG
  bool has_info = true;  // false for a group-stop that was not seized: GETSIGINFO is EINVAL
  SignalInfo info = {};
  uint8_t syscall_stop = 0;  // PTRACE_SYSCALL_INFO_*
};

// Something to do on the tracee's thread while it is stopped.
struct PtraceWork {
  std::function<Result<void>(Task&)> run;
  RefPtr<Task> caller = nullptr;  // woken when done
  std::atomic<bool> done{false};
  Result<void> result = Err(ESRCH);
};

struct PtraceState {
  enum class Resume { kContinue, kSyscall, kStep, kSysemu, kSysemuStep };

  ThreadGroup* tracer = nullptr;  // null = not traced
  int32_t tracer_tid = 0;         // only this thread of it may make requests
  bool seized = false;
  uint32_t options = 0;  // PTRACE_O_*

  bool stopped = false;     // in a stop that requests may be made in
  bool unreported = false;  // wait has not returned it yet
  bool listening = false;   // PTRACE_LISTEN
  PtraceReport report;
  bool resume = false;  // the tracer let it go
  int signal = 0;       // to be delivered when it goes on
  Resume mode = Resume::kContinue;
  std::shared_ptr<PtraceWork> work;

  bool thread_exited = false;  // a thread that is no leader and whose end was not reported yet
  int exit_status = 0;
};

// Requests of a tracer; each finds its tracee and checks that it is one (ESRCH). Results as ptrace(2).
class Ptrace {
 public:
  static Result<void> TraceMe(Task& task);
  static Result<void> Attach(Task& tracer, Task& target, bool seize, uint32_t options);
  static Result<void> Detach(Task& tracer, Task& tracee, int signal);
  static Result<void> Continue(Task& tracer, Task& tracee, PtraceState::Resume mode, int signal);
  static Result<void> Kill(Task& tracer, Task& tracee);
  static Result<void> Interrupt(Task& tracer, Task& tracee);
  static Result<void> Listen(Task& tracer, Task& tracee);
  static Result<void> SetOptions(Task& tracer, Task& tracee, uint32_t options);
  static Result<PtraceReport> Report(Task& tracer, Task& tracee);
  static Result<void> SetInfo(Task& tracer, Task& tracee, const SignalInfo& info);
  // Runs `work` on the stopped tracee's own thread.
  static Result<void> Do(Task& tracer, Task& tracee, std::function<Result<void>(Task&)> work);

  // --- For the rest of the kernel. ---
  static int32_t TracerTgid(Task& tracee);  // 0 = none
  // `child` was made by a traced `parent` and is to be traced as well. Before it runs.
  static void Inherit(Task& parent, Task& child);
  // The thread ends: those it traced are let go, or killed (PTRACE_O_EXITKILL).
  static void TracerExits(Task& tracer);
  // With the tree lock held: takes the link away. Nobody is told.
  static void UnlinkLocked(Task& tracee);
  // A thread other than the leader ended. True: it stays until its tracer has waited for it.
  static bool ThreadExited(Task& thread, int status);
  // SIGCHLD and a wake-up for the tracer. Tree lock held.
  static void NotifyTracerLocked(Task& tracee, int code, int status);

 private:
  static Result<void> CheckLocked(const Task& tracer, const Task& tracee, bool stopped);
  static void LinkLocked(Task& tracee, ThreadGroup& tracer, int32_t tracer_tid, bool seize, uint32_t options);
  static void ReleaseLocked(Task& tracee, int signal);
};

}  // namespace sandbox
