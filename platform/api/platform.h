// What a platform provides: processes whose guest code runs at native speed and comes back as traps.
//
// A platform::Thread is one guest thread. When the guest needs the kernel, the platform calls
// TrapHandler::HandleTrap on one of its own sentry threads (any of them: nothing may depend on which). While
// HandleTrap runs the guest thread is stopped; when it returns the thread resumes, unless Exit was called. HandleTrap
// may block, provided that it brackets the wait with BeginBlock/EndBlock (Context::Block does). Where the platform can
// (Thread::CanDefer) it need not keep a sentry thread while it waits: it returns kDeferred, and whoever ends the wait
// has the platform call HandleDeferred (Thread::Proceed), on the spot or on a thread of the platform.
//
// Guest memory is host-managed: faults, copy-on-write and fork never reach the sentry. The sentry decides the layout
// and queues MemoryOps, which the stopped thread executes inside its own address space before it resumes.
//
// Everything a platform reports (registers, fault addresses, memory contents) comes from a hostile stub. It is only
// ever wrong about itself.
#pragma once

#include <sys/syscall.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/guest_addr.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/api/call_input.h"
#include "platform/api/text_rewriter.h"
#include "platform/arch/registers.h"
#include "platform/arch/sigframe.h"

namespace sandbox::platform {

class Thread;

// How a call reaches the sentry. A hint: every call is correct in every lane, except that kFull calls are guaranteed
// to arrive with Thread::has_registers().
enum class Lane : uint8_t {
  kShort,     // expected not to block; a notification that carries number and arguments only
  kMayBlock,  // expected to block often
  kFull,      // needs the register file, changes memory mappings, or ends the thread
};

// Lanes by system call number; numbers outside the table are kShort.
using LaneTable = std::array<Lane, kCallNumbers>;

// One change to a guest address space, executed by a thread of it. Ranges are page aligned and were validated by the
// sentry's mm.
struct MemoryOp {
  enum class Kind : uint32_t {
    kMapAnonymous,  // private anonymous at `range`, replacing what is there
    kMapFile,       // `fd` at file offset `offset`, MAP_PRIVATE or MAP_SHARED, replacing what is there
    kUnmap,
    kProtect,
    kMove,        // mremap(range -> target, new length target.length()), MREMAP_MAYMOVE|MREMAP_FIXED when it moves
    kAdvise,      // madvise with `flags` as the advice
    kMembarrier,  // membarrier(`flags`) for this address space; the range is empty
    kRseq,        // rseq(range, `flags`, signature `offset`) for this thread; the range need not be aligned
  };
  Kind kind;
  GuestRange range;
  GuestRange target = {};   // kMove
  int prot = 0;             // PROT_*, host values equal guest values
  int flags = 0;            // MAP_SHARED/MAP_PRIVATE/MAP_NORESERVE/MAP_GROWSDOWN…, or the advice
  BorrowedFd fd = {};       // kMapFile; must stay open until the op was executed; opened with the guest's rights only
  RefPtr<void> keep_alive;  // whatever owns `fd`
  uint64_t offset = 0;
};

struct Fault {
  int signo = 0;        // SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP
  int code = 0;         // si_code
  GuestAddr address;    // si_addr
  uint64_t trapno = 0;  // for the guest's sigcontext
  uint64_t error = 0;
};

struct Trap {
  enum class Kind {
    kSyscall,         // nr, args
    kFault,           // fault
    kInterrupt,       // answer to Thread::Interrupt, or a kick without a reason; registers present
    kFrameFailed,     // the guest's stack did not take `failed_frame`, which PushFrame had accepted
    kMemoryOpFailed,  // a queued op failed: failed_op, failed_errno; the ops after it were not executed
    kDead,  // the host thread is gone (killed, OOM), or (failed_errno) was never made; only Exit may be called
  };
  Kind kind = Kind::kSyscall;
  uint64_t nr = 0;
  std::array<uint64_t, 6> args = {};
  GuestAddr ip;  // of the instruction after the call
  // kSyscall: the guest has waited so long in this call already, which the platform makes in its place (LocalAnswers).
  int64_t waited_ns = 0;
  bool fast = false;  // kSyscall: came from a rewritten site, without a host trap
  Fault fault;
  arch::BuiltFrame failed_frame;
  MemoryOp failed_op = {};
  int failed_errno = 0;
  int death_signal = 0;  // kDead: the host's termination signal, 0 when unknown
};

// Implemented by the kernel's Task. Must outlive the Thread.
class TrapHandler {
 public:
  virtual ~TrapHandler() = default;
  enum class Served {
    kDone,      // the guest may run, unless Exit was called
    kDeferred,  // not done: Proceed was or will be called, perhaps before this returns; `thread` may be gone already
  };
  virtual Served HandleTrap(Thread& thread, const Trap& trap) = 0;
  // The rest of what HandleTrap deferred.
  virtual Served HandleDeferred(Thread&) { return Served::kDone; }
  // The call of Thread::BeginCall has ended, or nobody is left to make it. On any thread; the handler takes no lock.
  virtual void HandleCallEnded() {}
};

// Memory of one guest process (Linux: struct mm as far as its contents go). Shared by the threads and vfork children
// that share it; the last Thread to exit ends it.
class AddressSpace {
 public:
  virtual ~AddressSpace() = default;
  // Copy as much as is accessible and return the byte count; EFAULT when the first byte is not. Never interpret the
  // same bytes twice: copy once, then validate the copy. Callers hold no sentry lock (a fault may stall).
  virtual Result<size_t> Read(GuestAddr from, void* to, size_t size) = 0;
  virtual Result<size_t> Write(GuestAddr to, const void* from, size_t size) = 0;
  // Atomic compare-and-exchange of an aligned 32-bit word. Returns the value found. EFAULT when inaccessible.
  virtual Result<uint32_t> CompareExchange(GuestAddr at, uint32_t expected, uint32_t desired) = 0;
  // What the host counts, for /proc and getrusage(2); zeros when unknown.
  struct Usage {
    uint64_t resident = 0, peak_resident = 0;      // bytes
    uint64_t anonymous = 0, file = 0, shared = 0;  // parts of `resident`: private memory, files, memory files
    uint64_t minor_faults = 0, major_faults = 0;   // so far
  };
  virtual Usage GetUsage() = 0;
  // What the host's smaps says of one of its own mappings, bytes (proc_pid_smaps(5)). Bounds are the host's: it may
  // have merged what the sentry keeps apart.
  struct Residency {
    GuestRange range;
    uint64_t rss = 0, pss = 0, pss_dirty = 0, shared_clean = 0, shared_dirty = 0, private_clean = 0, private_dirty = 0,
             referenced = 0, anonymous = 0, lazy_free = 0, anonymous_huge = 0, swap = 0, swap_pss = 0;
  };
  // Ascending; empty when unknown.
  virtual std::vector<Residency> GetResidency() { return {}; }

  // Rewritten text is (about to be) mapped at `text`, its trampolines at `zone`. From now on a thread that is stopped
  // inside the zone is shown at the address of the original, and one that arrives at a boundary inside a patched jump
  // is continued in the zone. At any time, from any sentry thread; only called when Platform::text_rewriter() is not
  // null.
  virtual void AddTrampolines(GuestRange /*text*/, GuestRange /*zone*/, RefPtr<const TrampolineMap> /*map*/) {}
  // The original text is (about to be) back at `text`; the zone stays mapped for threads that are inside.
  virtual void RetireTrampolines(GuestRange /*zone*/) {}
  // The zone is gone.
  virtual void RemoveTrampolines(GuestRange /*zone*/) {}
};

// What a guest thread may be told without asking the sentry (Linux: what getpid(2) and its like return).
struct LocalIdentity {
  int32_t pid = 0, tid = 0;
  bool has_ids = true;  // the ids that follow are what the thread is to be told
  uint32_t uid = 0, euid = 0, gid = 0, egid = 0;
  bool host_processor = false;  // getcpu(2) may tell the host's
};

// All that a platform may answer then.
inline constexpr int kLocalCalls[] = {SYS_rt_sigaction, SYS_rt_sigprocmask,  SYS_rt_sigreturn,   SYS_sched_yield,
                                      SYS_getpid,       SYS_gettimeofday,    SYS_getuid,         SYS_getgid,
                                      SYS_geteuid,      SYS_getegid,         SYS_gettid,         SYS_time,
                                      SYS_futex,        SYS_clock_gettime,   SYS_getcpu,         SYS_arch_prctl,
                                      SYS_rseq,         SYS_set_robust_list, SYS_set_tid_address};

// A call that a guest thread makes on the host itself, about memory of its own: futex(2) without priority inheritance,
// futex_waitv(2), or mincore(2).
struct HostCall {
  uint32_t nr = 0;
  std::array<uint64_t, 6> args = {};
  // Instead of the time that args[3] points to: absolute, on the clock that the call says.
  std::optional<int64_t> deadline_ns;
};

struct CloneOptions {
  bool share_memory = false;  // CLONE_VM
  bool thread = false;        // CLONE_THREAD (implies share_memory)
};

class Thread {
 public:
  virtual ~Thread() = default;  // after Exit, or for a thread that was never started

  virtual const RefPtr<AddressSpace>& address_space() = 0;

  // --- Only while stopped: inside HandleTrap, or before Start. ---------------------------------------------------

  // False for a kShort call that has not blocked: then only SetReturn and Interrupt are meaningful.
  virtual bool has_registers() const = 0;
  // The register file; changes take effect on resume. Precondition: has_registers().
  virtual arch::Registers& regs() = 0;
  // Result of the current call.
  virtual void SetReturn(int64_t value) = 0;
  // Extended state in the layout of a signal frame's fpstate (XSAVE, with the FP_XSTATE magics); empty = initial state.
  virtual Result<std::vector<uint8_t>> GetFpState() = 0;
  virtual Result<void> SetFpState(std::span<const uint8_t> state) = 0;  // EINVAL for a malformed area

  // --- Data that travels with the call. A shortcut past AddressSpace, for memory of this thread's own address space;
  // platforms need not have it, and have it only for some calls and until the thread blocks.

  // Copies `size` bytes at `from`, if they came along with the call (CallInput): false otherwise.
  virtual bool ReadInput(GuestAddr /*from*/, void* /*to*/, size_t /*size*/) { return false; }
  // Room for `size` bytes of a result, or null. The caller fills it, which may be partly, and has it copied by
  // CommitOutput: by the thread itself, in the order of the commits, before anything else that it does. The caller
  // knows that the memory at `to` can be written; where it cannot any more, the call fails with EFAULT.
  virtual char* ReserveOutput(size_t /*size*/) { return nullptr; }
  virtual void CommitOutput(GuestAddr /*to*/, size_t /*size*/) {}
  // Before any other access to memory that may be among those: writes outputs and forgets inputs.
  virtual void SettleCallData() {}
  // Has the thread itself read the regular file `fd` at `offset` into `to`, as pread(2) does: for more than a copy by
  // way of the sentry should carry. `fd` must be opened with the guest's rights only; the thread may keep it. Nothing
  // was done when it cannot be had now (nullopt).
  virtual std::optional<Result<size_t>> ReadFile(GuestRange /*to*/, BorrowedFd /*fd*/, uint64_t /*offset*/) {
    return std::nullopt;
  }

  // Has a signal handler start when the thread resumes: the extended state goes to `frame.fp_address` (its size is
  // FpStateSize), the frame to `frame.address`, and the state becomes the initial one. regs() are the caller's to set.
  // Errors come at once, or as Trap::kFrameFailed.
  virtual size_t FpStateSize() = 0;
  virtual Result<void> PushFrame(const arch::BuiltFrame& frame) = 0;

  // Executed in order before the thread resumes. Failures come back as Trap::kMemoryOpFailed.
  virtual void QueueMemoryOp(MemoryOp op) = 0;
  // Executes the queued ops now and waits for their result; on failure the rest is dropped and the op's errno returned.
  virtual Result<void> FlushMemoryOps() = 0;

  // Host calls. When they can be made, all futexes but PI locks live on the host's queues, and the platform may make
  // those calls without asking (LocalIdentity); RunCall is for calls that do not sleep, mincore(2) always among them.
  // BeginCall makes HandleCallEnded be called; EndCall, called once after it, interrupts a call that has not ended.
  // EINTR when interrupted or not made.
  virtual bool CanMakeCalls() const { return false; }
  virtual Result<int64_t> RunCall(const HostCall&) { return Err(ENOSYS); }
  virtual Result<void> BeginCall(const HostCall&) { return Err(ENOSYS); }
  virtual bool CallEnded() { return true; }
  virtual Result<int64_t> EndCall() { return Err(ENOSYS); }
  // AddressSpace::GetUsage, as the thread sees it itself: the peak and the faults, at the price of one call.
  virtual AddressSpace::Usage OwnUsage() { return {}; }

  // Makes a child of this thread: a copy of the address space, or sharing it. The child is stopped, with this
  // thread's registers and extended state, return value 0. It runs after its Start. Precondition: has_registers().
  // A thread may be made only when this one resumes, blocks or exits. What fails then is the result of the call that it
  // is in, and the child gets Trap::kDead with the errno.
  virtual Result<std::unique_ptr<Thread>> Clone(const CloneOptions& options, TrapHandler& child) = 0;

  // Lets a new thread run with regs(). Called once, from any sentry thread.
  virtual void Start() = 0;

  // Ends the guest thread instead of resuming it; HandleTrap must then return without touching the thread. Also
  // legal from another sentry thread on a thread that was never started. The Thread may be destroyed as soon as Exit
  // has returned, while HandleTrap is still on the stack.
  virtual void Exit() = 0;

  // Has the thread, when it ends at Exit, carry out what is queued, then store 0 at `word`, unless that is null, and
  // wake a waiter there (Linux: clear_child_tid). False when this thread cannot: the caller does it now.
  virtual bool ClearAtExit(GuestAddr /*word*/) { return false; }

  // Around a wait inside HandleTrap: lets another sentry thread serve this process meanwhile.
  virtual void BeginBlock() = 0;
  virtual void EndBlock() = 0;
  // Whether traps of this thread may be deferred. BeginDefer stands for BeginBlock before HandleTrap returns kDeferred;
  // EndBlock ends both.
  virtual bool CanDefer() const { return false; }
  virtual void BeginDefer() {}

  // --- At any time, from any sentry thread. ---------------------------------------------------------------------

  // Goes on with a deferred trap: HandleDeferred is called by the calling thread, which must hold no lock, or by one of
  // the platform's own. Once for each deferral.
  enum class Where { kHere, kElsewhere };
  virtual void Proceed(Where) {}

  // Makes the thread trap with kInterrupt as soon as it runs guest code. Idempotent until that trap is served.
  virtual void Interrupt() = 0;
  // Host CPU time consumed in guest code, nanoseconds.
  virtual uint64_t CpuTimeNs() = 0;
  // Lets the platform answer identity calls, and others that need no authority, without a trap; none: every call must
  // trap again (tracing, filters). Takes effect at the thread's next call. Platforms may ignore it.
  virtual void SetLocalIdentity(const std::optional<LocalIdentity>&) {}
  // What the platform needs to change the thread's signal mask in its place (rt_sigprocmask, rt_sigreturn). It does so
  // only while nothing is pending. Either SignalMask shows a change, or, when SetSignalsPending(true) came before it,
  // the thread traps with kInterrupt after it. SignalMask: as the guest left it, whatever bits; nullopt for platforms
  // that leave all of it to the sentry.
  virtual void SetSignalMask(uint64_t) {}
  virtual std::optional<uint64_t> SignalMask() { return std::nullopt; }
  virtual void SetSignalsPending(bool) {}
  virtual void SetSignalStack(const arch::SignalStack&) {}
  // Number of the call in which the thread waits without having trapped; nullopt when it does not.
  virtual std::optional<uint64_t> WaitsInCall() { return std::nullopt; }
  // The host's thread id, for diagnosis and CPU affinity.
  virtual int host_tid() const = 0;
  // Signals (bit n: n + 1) that have the default action with nothing else set. The platform may tell so in the thread's
  // place (rt_sigaction), which posix_spawn asks about every signal.
  // With `sole`, for the only thread that they concern, it may also give them that action once more, in its place; then
  // TakeDefaultedActions says to which, once, and with what restorer (SA_RESTORER is the one flag; 0: without).
  virtual void SetUntouchedActions(uint64_t, bool /*sole*/) {}
  struct DefaultedActions {
    uint64_t set = 0, restorer = 0;
  };
  virtual DefaultedActions TakeDefaultedActions() { return {}; }
  // What the thread settled in the sentry's place, once: set_robust_list(2), set_tid_address(2), rseq(2), which the
  // host has accepted. Any values.
  struct Rseq {
    uint64_t addr = 0;
    uint32_t length = 0, signature = 0;
  };
  struct Settled {
    std::optional<uint64_t> robust_list, tid_address;
    std::optional<Rseq> rseq;
  };
  virtual Settled TakeSettled() { return {}; }
  // The list among it, which stays there (any time).
  virtual std::optional<uint64_t> SettledRobustList() { return std::nullopt; }
};

struct PlatformOptions {
  LaneTable lanes = {};
  InputTable inputs = {};
  int pool_size = 2;  // prepared stubs kept for exec
  // A page of abi::ClockPage that guests may read, for clocks told without a trap; invalid: none.
  BorrowedFd clock_page = {};
  // A directory of the proc file system, of the pid namespace that stubs live in; invalid: sizes of what is resident
  // are known as far as stubs can tell themselves.
  BorrowedFd host_proc = {};
  // Called by a sentry thread after each trap it served, when the guest runs again, with no lock held: the place to
  // proceed with what that trap woke. Only by platforms that defer.
  std::function<void()> after_trap;
};

class Platform {
 public:
  virtual ~Platform() = default;
  virtual std::string_view name() const = 0;
  // Where guest mappings may lie. Everything outside belongs to the platform.
  virtual GuestRange guest_range() const = 0;
  // A fresh, empty address space with one stopped thread in it, for boot and every exec.
  virtual Result<std::unique_ptr<Thread>> NewProcess(TrapHandler& handler) = 0;
  // Null when call sites are not to be rewritten.
  virtual const TextRewriter* text_rewriter() const { return nullptr; }
};

// Creates a platform: "systrap" or "ptrace"; ENOENT for an unknown name. Must be called while the process is still
// single threaded and unconfined (it forks). Registered by each platform's own file (see registry.h).
Result<std::unique_ptr<Platform>> CreatePlatform(std::string_view name, const PlatformOptions& options);

}  // namespace sandbox::platform
