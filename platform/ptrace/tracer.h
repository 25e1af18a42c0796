// The tracer: one thread that made every ptrace request there is (the kernel lets only the attaching thread make
// them) and collects every stop. Other threads hand it commands; it hands traps to the worker pool. It never waits
// for a particular guest thread: each has a small state machine (tracee.h) that its stops and commands advance.
#pragma once

#include <thread>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "platform/ptrace/tracee.h"
#include "platform/ptrace/waker.h"
#include "platform/ptrace/worker_pool.h"

namespace sandbox::platform::ptrace {

class Tracer {
 public:
  explicit Tracer(WorkerPool& workers);
  ~Tracer();  // kills and reaps every tracee

  // Starts the thread and attaches `zygote`, which must be a child of this process that no one traces.
  Result<RefPtr<Tracee>> Start(pid_t zygote);

  // Runs `program` on the thread when it is next stopped (stopping it if it runs) and waits for its end. Programs of
  // one thread run in the order they came.
  void Run(const RefPtr<Tracee>& tracee, Program& program);

  // Around a program that contains clone: between them, a tracee nobody knows is an expected child.
  void BeginClone();
  // Takes in the child `tid` and waits for its first stop.
  RefPtr<Tracee> EndClone(pid_t tid, RefPtr<HostProcess> process);
  void EndClone();  // there was none

  // Lets the thread run guest code with its regs.
  void Resume(const RefPtr<Tracee>& tracee);
  void Interrupt(const RefPtr<Tracee>& tracee);
  // Makes the thread exit instead. Its programs so far still run.
  void Exit(const RefPtr<Tracee>& tracee);

 private:
  struct Command {
    enum class Kind { kRun, kResume, kInterrupt, kExit, kAdopt, kEndClone, kAttach, kStop } kind;
    RefPtr<Tracee> tracee;
    Program* program = nullptr;
  };

  void Post(Command command);
  void Main();
  void Execute(Command& command);
  void OnStatus(pid_t tid, int status);
  void OnStop(Tracee& tracee, int status);
  bool Capture(Tracee& tracee);
  void OnFirstStop(Tracee& tracee);
  void OnSignal(Tracee& tracee, int signo);
  void OnInjectionStop(Tracee& tracee, int signo);
  void OnGone(Tracee& tracee, int status);
  void Advance(Tracee& tracee);
  void StartCall(Tracee& tracee);
  void RunGuest(Tracee& tracee);
  void Deliver(Tracee& tracee, Trap::Kind kind);
  void Continue(Tracee& tracee);
  void KillStrays();

  WorkerPool& workers_;
  InterruptibleWait wait_;
  std::thread thread_;

  Mutex mu_;
  std::vector<Command> queue_ GUARDED_BY(mu_);
  int clones_ GUARDED_BY(mu_) = 0;

  // Tracer thread only.
  std::unordered_map<pid_t, RefPtr<Tracee>> tracees_;
  std::unordered_map<pid_t, int> strays_;  // children that stopped before their parent's clone was reported
  bool stopping_ = false;
};

}  // namespace sandbox::platform::ptrace
