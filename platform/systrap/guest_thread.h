// One guest thread: the sentry's half of a host thread in a stub.
//
// Who may touch it. While the guest thread is stopped, one sentry thread owns it (the worker that serves its trap, or
// whoever created it, before Start) and needs no lock for the members under "owner". The rest is guarded by mu_.
//
// What the stub is doing is `hold_`; a trap arrives as kNotified or kRung, and every answer makes it kLoose until the
// stub rings again or the guest runs.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "platform/api/platform.h"
#include "platform/systrap/call_data.h"
#include "platform/systrap/host_process.h"
#include "platform/systrap/kept_off.h"
#include "platform/systrap/listener.h"
#include "platform/systrap/shared_page.h"
#include "platform/systrap/worker.h"

namespace sandbox::platform::systrap {

class StubPlatform;

class GuestThread : public RefFromThis<GuestThread> {
 public:
  GuestThread(StubPlatform& platform, RefPtr<Listener> listener, RefPtr<SharedPage> page, RefPtr<StubSpace> space,
              TrapHandler& handler, uint32_t slot);
  ~GuestThread();

  // --- owner ---------------------------------------------------------------------------------------------------
  bool has_registers() const { return hold_ != Hold::kNotified; }
  arch::Registers& regs();
  void SetReturn(int64_t value);
  Result<std::vector<uint8_t>> GetFpState();
  Result<void> SetFpState(std::span<const uint8_t> state);
  bool ReadInput(GuestAddr from, void* to, size_t size) { return data_.ReadInput(from, to, size); }
  char* ReserveOutput(size_t size);
  void CommitOutput(GuestAddr to, size_t size) { data_.Commit(to, size); }
  void SettleCallData();
  std::optional<Result<size_t>> ReadFile(GuestRange to, BorrowedFd fd, uint64_t offset);
  size_t FpStateSize() const;
  Result<void> PushFrame(const arch::BuiltFrame& frame);
  Result<int64_t> RunCall(const HostCall& call);
  Result<void> BeginCall(const HostCall& call) EXCLUDES(mu_);
  bool CallEnded() EXCLUDES(mu_);
  Result<int64_t> EndCall() EXCLUDES(mu_);
  AddressSpace::Usage OwnUsage();
  void QueueMemoryOp(MemoryOp op) { ops_.push_back(std::move(op)); }
  Result<void> FlushMemoryOps();
  Result<RefPtr<GuestThread>> Clone(const CloneOptions& options, TrapHandler& handler);
  Result<uint32_t> CompareExchange(GuestAddr at, uint32_t expected, uint32_t desired);
  void Start();
  void Exit() EXCLUDES(mu_);
  bool ClearAtExit(GuestAddr word) EXCLUDES(mu_);
  void BeginBlock();
  void BeginDefer();
  void EndBlock();

  // Goes on with a deferred trap, on the calling thread or on a worker.
  void Proceed(Thread::Where where);
  void ServeDeferred();

  // --- any time ------------------------------------------------------------------------------------------------
  void Interrupt() EXCLUDES(mu_);
  uint64_t CpuTimeNs();
  void SetLocalIdentity(const std::optional<LocalIdentity>& identity);
  void SetSignalMask(uint64_t mask);
  uint64_t SignalMask() const;
  void SetSignalsPending(bool pending);
  void SetSignalStack(const arch::SignalStack& stack);
  void SetUntouchedActions(uint64_t actions, bool sole);
  Thread::DefaultedActions TakeDefaultedActions();
  Thread::Settled TakeSettled();
  std::optional<uint64_t> SettledRobustList() const;
  std::optional<uint64_t> WaitsInCall() const;
  int host_tid();
  const RefPtr<StubSpace>& space() const { return space_; }
  const RefPtr<HostProcess>& process() const { return process_; }

  // --- the platform's own --------------------------------------------------------------------------------------
  // The API object that handlers see. Valid until Exit.
  void set_facade(Thread* facade) { facade_ = facade; }
  // Birth of a cloned process: its first contact, in the notification that carried its token. Its parent does not wait
  // for it, since the two may run on different processors. One that was started meanwhile runs at once.
  void Hello(const Notification& notification) EXCLUDES(mu_);
  // Waits for it; ESRCH when the child will not be born. Receives for the listener meanwhile. Any thread, holding none
  // of the platform's locks.
  Result<void> AwaitBirth() EXCLUDES(mu_);
  // Becomes the thread of a fresh stub, which waits for its first answer at the other end of `socket`.
  void Adopt(RefPtr<HostProcess> process, UniqueFd socket);
  // A notification from this thread. Returns true when it is a trap that the caller must serve.
  bool Deliver(const Notification& notification) EXCLUDES(mu_);
  // Serves the trap that Deliver accepted, until the guest runs again or the thread is gone.
  void ServeTrap(const Notification& notification);
  // After a trap that left the door of the page open (fast.cc): waits for the next call there. True
  // when it came and must be served now.
  bool AwaitPosted() EXCLUDES(mu_);
  // The same without waiting, for a worker that cannot watch now.
  bool StopWatching() EXCLUDES(mu_);
  void ServePosted();
  // For SharedWatch: opens the door, and looks whether a call came there.
  void SetDoorOpen();
  bool HasPosted() const;
  // Takes up what was posted; false when there is nothing to serve (any more).
  bool AcceptPosted() EXCLUDES(mu_);
  // The host thread is gone, or (`error`) was never made. Has Trap::kDead delivered, now or after the trap under way.
  void MarkDead(int signal, int error = 0) EXCLUDES(mu_);
  // Learns its own number if its creator has made it by now. True when it has one.
  bool Bind() EXCLUDES(mu_);
  void ServeDeath();
  // Kills the whole host process: it did what no honest stub does.
  void KillHostile(const char* why);
  // For the watchdog: true when an interrupt was asked for before `before_ns` and not answered.
  bool InterruptOverdue(int64_t before_ns) EXCLUDES(mu_);

 private:
  enum class Hold {
    kNotified,  // in a guest call's notification: number and arguments only
    kRung,      // in a doorbell: registers in hand
    kParked,    // waits on its page for `go`; registers are (or will be) in the page
    kFresh,     // a fresh stub, which waits at its socket
    kLoose,     // carrying out a command, or running guest code
  };
  enum class State { kNew, kRunning, kServing, kExited };

  // round.cc
  void Park();                // any hold -> kParked
  Result<void> EnsureRung();  // any hold -> kRung
  void EnsureRegisters();     // waits until a parked thread has saved them
  // Answers the stopped stub; the first `op_limit` queued ops go along.
  void Post(stub::Command command, stub::Resume resume, size_t op_limit);
  // Post and wait until it was carried out. The thread is kRung afterwards. ESRCH when it died or misbehaved.
  Result<void> Round(stub::Command command, size_t op_limit);
  Result<stub::Bell> AwaitBell();
  // Receives until `done`, which is called with mu_, says that the wait is over.
  template <typename F>
  Result<void> ReceiveUntil(F done);
  // A signal frame, for what looks into it. ESRCH when the thread died.
  Result<void> EnsureFrame();
  // signals.cc: executes a frame that waits in push_.
  Result<void> FlushFrame();
  void FillPush();
  void FillCall(const HostCall& call);
  // Makes queued ops executable: registers saved, and a notification outstanding if files must be injected.
  Result<void> PrepareOps();
  void FillOps(size_t count);
  // For the first `count` queued ops of a fresh stub: numbers their files, which travel beside its first answer.
  // Returns for how many ops there is room.
  size_t NumberFiles(size_t count, std::vector<BorrowedFd>* files) const;
  // Whether a fresh stub's ops all go along with its first answer.
  bool StartsAtOnce() const;
  void SendStart();
  void LoadRegisters();
  // trap.cc
  // What the notification means; none when there is nothing to serve. Takes ownership of the stopped thread.
  std::optional<Trap> ReadTrap(const Notification& notification);
  std::optional<Trap> ReadBell(stub::Bell bell);
  // Handles it and what follows from it, until the guest runs again or the thread is gone.
  void Serve(const std::optional<Trap>& trap);
  bool FinishTrap(Trap* next) EXCLUDES(mu_);
  void Resume();
  TrapHandler::Served Handle(const Trap& trap);
  void Finish();
  void ReleaseHost();
  void SendControlSignal();
  // fast.cc
  Trap ReadFast(Hold hold);
  uint64_t ShownSite(uint64_t ip);
  void CountStreak();
  bool OpenDoor();
  bool StaysShared();
  bool JoinShared();
  bool CloseDoor();
  void LetGo() EXCLUDES(mu_);
  // clone.cc
  bool ApproveClone(const Notification& notification) EXCLUDES(mu_);
  // What a child is before its birth.
  void PrepareChild(GuestThread& child, const CloneOptions& options);
  void ForgetChild(GuestThread& child);
  // Whether the host agrees that `tid` is what was cloned.
  bool Identify(int tid);
  // Takes hold of a born child that has not run; false when it is not born.
  bool TakeHelloLocked() REQUIRES(mu_);
  // Binds a child that is a thread.
  Result<void> BeginAsThread(int claimed);
  Result<void> EnsureBorn();
  void BeginWithClone(RefPtr<SharedPage> creator);
  RefPtr<GuestThread> TakeClone();
  void SettleClone();
  void FailClone(GuestThread& child, int64_t result);
  void CloneIsOver();

  StubPlatform& platform_;
  const RefPtr<Listener> listener_;
  const RefPtr<SharedPage> page_;
  const RefPtr<StubSpace> space_;
  TrapHandler& handler_;
  const uint32_t slot_;
  RefPtr<HostProcess> process_;  // set before anybody else knows of the thread
  std::atomic<int> tid_{-1};     // -1: not born
  Thread* facade_ = nullptr;

  // Orders what one owner wrote before its answer and what the next one reads after the notification. The guest's
  // run in between does it on the host, but neither the language nor ThreadSanitizer knows.
  std::atomic<uint32_t> handover_{0};

  // owner
  Hold hold_ = Hold::kLoose;
  uint64_t notification_ = 0;  // kNotified, kRung
  UniqueFd socket_;            // kFresh
  std::vector<BorrowedFd> start_files_;
  bool filling_ = false;  // a fresh stub that has not been heard of since its first answer
  bool fast_ = false;     // the call came through the fast lane: its registers are in the page
  bool registers_loaded_ = false;
  arch::Registers registers_ = {};
  int64_t return_value_ = 0;  // for kNotified, and kParked before the registers were loaded
  bool return_set_ = false;
  uint32_t call_nr_ = 0;     // of the kNotified or fast call
  bool usage_came_ = false;  // with the call: in the page
  CallData data_;
  bool output_failed_ = false;  // the call fails, whatever its result
  // What Trampolines::Shown said of the call sites last seen, to keep fast calls off its lock.
  struct Site {
    uint64_t ip = 0, shown = 0;
    uint32_t version = 0;
  };
  std::array<Site, 8> sites_;
  std::vector<MemoryOp> ops_;
  std::vector<MemoryOp> posted_ops_;             // handed to the stub with the last answer
  std::optional<arch::BuiltFrame> push_;         // goes along with the resuming answer
  std::optional<arch::BuiltFrame> posted_push_;  // went
  GuestAddr exit_word_;
  bool in_call_ = false;  // between BeginCall and EndCall: somebody has to receive its bell
  bool blocked_ = false;
  bool waits_in_notification_ = false;  // blocked, and not parked
  bool cloned_ = false;
  uint64_t token_ = 0;                 // of its hello
  RefPtr<SharedPage> creator_page_;    // of a thread that is made while its creator goes on: has its number
  RefPtr<GuestThread> clone_;          // to be made with the resuming answer
  RefPtr<GuestThread> cloning_;        // went; cleared when the thread is heard of again
  std::atomic<bool> in_clone_{false};  // from just before that answer until then
  bool arrived_ = false;               // of a thread: it was seen to run stub code
  bool started_ = false;
  // Fast lane: rung calls shortly after each other; fruitless watches; calls caught by the present
  // watch.
  int streak_ = 0, penalty_ = 0, caught_ = 0;
  int64_t resumed_ns_ = 0;
  int64_t saved_ns_ = 0;       // by the calls that the present watch caught, less the waiting for them
  bool watch_begins_ = false;  // and this one is to be waited for longer
  // Given to the shared watch; its door was opened for that; calls caught there; times it was not served in time.
  bool shared_ = false, shared_open_ = false;
  int64_t shared_calls_ = 0;
  int left_ = 0;

  Mutex mu_{LockRank::kPlatformThread};
  State state_ GUARDED_BY(mu_) = State::kNew;
  bool in_round_ GUARDED_BY(mu_) = true;  // the next bell belongs to AwaitBell
  bool calling_ GUARDED_BY(mu_) = false;  // a round that BeginCall began
  std::optional<Notification> bell_ GUARDED_BY(mu_);
  std::optional<uint64_t> clone_flags_ GUARDED_BY(mu_);  // the one clone that may be approved
  int never_made_ GUARDED_BY(mu_) = 0;                   // dead: errno of its clone
  bool interrupt_ GUARDED_BY(mu_) = false;
  int64_t interrupt_since_ns_ GUARDED_BY(mu_) = 0;
  bool dead_ GUARDED_BY(mu_) = false;
  bool death_told_ GUARDED_BY(mu_) = false;
  int death_signal_ GUARDED_BY(mu_) = 0;
  KeptOff kept_off_ GUARDED_BY(mu_);  // while its watch begins
};

}  // namespace sandbox::platform::systrap
