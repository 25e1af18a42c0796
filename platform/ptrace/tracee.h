// One guest thread as the tracer sees it, and the programs (sequences of injected calls) that run on it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "platform/api/platform.h"
#include "platform/ptrace/cpu_account.h"
#include "platform/ptrace/waker.h"

namespace sandbox::platform::ptrace {

// One trip of a stopped thread through the stub page.
struct InjectedCall {
  uint64_t entry = 0;  // kSyscallEntry or kExchangeEntry
  uint64_t nr = 0;     // rax
  std::array<uint64_t, 6> args = {};
  uint64_t rcx = 0;         // kExchangeEntry: the desired value
  bool keep_going = false;  // a failure does not stop the program

  // Results.
  bool ran = false;
  bool faulted = false;
  int64_t result = 0;

  bool failed() const { return !ran || faulted || (result < 0 && result >= -4095); }
  int error() const { return !ran ? ESRCH : faulted ? EFAULT : static_cast<int>(-result); }
};

// Work for a thread while it is stopped: `request` on the tracer thread (for ptrace requests), or the calls in order.
// Lives on the stack of the thread that waits for `done`.
struct Program {
  std::vector<InjectedCall> calls;
  std::function<void()> request;
  size_t next = 0;
  bool dead = false;  // the thread died before the program ended
  Event done;
};

// A host process: what its threads share on the host beyond memory.
struct HostProcess {
  explicit HostProcess(pid_t tgid) : cpu(tgid), files_mu(LockRank::kPlatform) {}
  CpuAccount cpu;
  // Held, while waiting for the guest thread, over receive-map-close and over clone: at any other time the descriptor
  // table holds the socket alone, so the number of a received descriptor is known and no child inherits one.
  Mutex files_mu;
};

class PtraceThread;
struct Tracee;

// The thread whose trap the calling worker serves; null elsewhere.
RefPtr<Tracee> CurrentTracee();

struct Tracee : RefFromThis<Tracee> {
  enum class State {
    kBorn,  // attached by its parent's clone; the first stop has not been seen
    kStopped,
    kRunning,    // guest code
    kInjecting,  // in the stub page for the first of `programs`
    kExiting,    // in exit(2)
    kDead,       // reaped
  };

  Tracee(pid_t id, RefPtr<HostProcess> host) : tid(id), process(std::move(host)) {}

  const pid_t tid;
  const RefPtr<HostProcess> process;

  // Set before the thread first runs; read by workers.
  TrapHandler* handler = nullptr;
  PtraceThread* thread = nullptr;

  // The guest's registers. Belong to the tracer from resume to trap, to the worker in between.
  arch::Registers regs = {};
  Trap trap;

  // Worker's.
  std::vector<MemoryOp> ops;
  std::atomic<bool> exited{false};  // Exit was called: nobody may touch `thread` or `handler` again

  // Tracer thread's.
  State state = State::kBorn;
  arch::Registers host_regs = {};  // as last seen or set: what injected calls start from
  bool wants_run = false;          // to be resumed into guest code once nothing else is to be done
  bool exit_requested = false;
  bool interrupt_requested = false;  // a kInterrupt trap is due
  int death_signal = 0;
  std::deque<Program*> programs;
  Event* birth = nullptr;  // set when the first stop was seen
};

}  // namespace sandbox::platform::ptrace
