// The page a stopped guest thread shares with the sentry. Both sides are described here and nowhere else.
//
// The stub half and the guest can write every byte at any time: the sentry copies a field once into its own memory and
// validates the copy, and nothing it needs for itself is kept here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "abi/sigcontext.h"
#include "platform/api/call_input.h"
#include "platform/arch/registers.h"
#include "platform/stub/layout.h"

namespace sandbox::platform::stub {

// Why the stub rings (first argument of the doorbell call).
enum class Bell : uint32_t {
  kHello = 1,    // a cloned process reports; second argument: its token
  kSyscall,      // registers, with orig_rax set
  kFault,        // registers and fault_*
  kInterrupt,    // registers; the control signal arrived
  kDone,         // a command other than kResume was carried out: result
  kOpFailed,     // failed_index, failed_errno; the ops after it and the command were not carried out
  kSignals,      // registers; the guest changed its signal mask while something was pending
  kFrameFailed,  // the guest's stack did not take the frame of `push`; the command was not carried out
  kCloneFailed,  // kCloneAndResume: result; the rest of the command was not carried out
  kWaited,       // like kFast; the thread has waited in the call since `slept_since`
  kFast,         // a call from the fast lane that found no sentry thread watching its page: `request`
};

// What the sentry answers a doorbell with.
enum class Answer : int64_t {
  kProceed = 0,  // ops and command are in the page
  kWait = 1,     // sleep on `go` until they are
};

// What to do after the ops.
enum class Command : uint32_t {
  kResume,           // return to guest code as `resume` says
  kRing,             // ring kDone
  kClone,            // clone_*, then ring kDone with result = host tid or -errno
  kCloneAndResume,   // the same, and kResume when it succeeds: nobody waits for the number, which the host puts into
                     // clone_tid before the child runs. From the fast lane
  kCompareExchange,  // cmpxchg_*, then ring kDone with result = value found, or -EFAULT
  kCall,             // the thread makes `call` on the host, then rings kDone with its result
  kRead,             // pread(2) as `read` says, closes its file, then rings kDone with the result
  kMakeFrame,        // from the fast lane: get a signal frame (`frame`, `fp_state`), then ring kDone in
                     // its handler
  kExitThread,
  kExitGroup,
};

enum class Resume : uint32_t {
  kUnchanged,  // the registers as they were saved
  kRegisters,  // the page's `regs`
  kReturn,     // the saved ones stand on a system call instruction, or after one in the fast lane:
               // finish it with return_value
};

// Where the fast lane's next call goes (Request::door). No enumeration, because not all compilers let atomic operations
// work on one.
inline constexpr uint32_t kDoorClosed = 0;  // nobody watches the page: ring
inline constexpr uint32_t kDoorOpen = 1;    // a sentry thread watches it: post the request
inline constexpr uint32_t kDoorPosted = 2;  // posted, and not taken yet

struct Op {
  enum class Kind : uint32_t { kMap, kUnmap, kProtect, kMove, kAdvise, kMembarrier, kRseq };
  Kind kind;
  int32_t fd;         // kMap; -1 for anonymous. In a fresh stub's first answer: the number of the file beside it
  uint32_t close_fd;  // last use of fd
  uint32_t prot;
  uint32_t flags;  // of mmap or mremap; the advice
  uint32_t unused;
  uint64_t addr, length, offset, target, target_length;
};
static_assert(sizeof(Op) == 64);

inline constexpr uint32_t kMaxOps = 38;

// A call of the fast lane. One cache line, so that a hand-over between two processors moves one.
struct alignas(64) Request {
  uint32_t door;  // kDoor*: the sentry opens and closes; the stub turns open into posted
  uint32_t nr;
  uint64_t args[6];
  uint64_t rip;  // of the instruction after the call
};
static_assert(sizeof(Request) == 64);

// What the stub may answer by itself in the fast lane: copies of what the sentry would say.
struct alignas(64) LocalAnswers {
  uint32_t valid;  // 0: ask the sentry for everything
  int32_t pid, tid;
  uint32_t has_ids;  // those that follow
  uint32_t uid, euid, gid, egid;
  uint32_t host_futexes;    // all words but those of PI locks wait on the host's queues
  uint32_t host_processor;  // the number of the host's processor is the guest's
};

// A result of the call that waits in the call's data (call_data.h): copied before the ops.
struct Output {
  uint64_t address;
  uint32_t offset;  // from the start of the slot
  uint32_t length;
};
inline constexpr uint32_t kMaxOutputs = 6;

// What the stub may do about signals by itself (local_lane.cc).
struct alignas(64) LocalSignals {
  uint64_t mask;     // the guest's; written by both sides
  uint32_t pending;  // something is pending, blocked or not
  int32_t stack_flags;
  uint64_t stack_sp, stack_size;  // sigaltstack(2), as a frame holds it
  uint64_t untouched_actions;     // bit n: signal n + 1 has the default action with nothing else set
  uint64_t defaulted_actions;     // of those, the ones that the stub was told to give that action once more
  uint64_t default_restorer;      // with this restorer; 0: without the flag
  uint32_t sole_thread;           // it may be told so
};

// What the thread settled by itself: calls that only leave something for later, or for the host.
struct Settled {
  static constexpr uint32_t kRobustList = 1, kTidAddress = 2, kRseq = 4;
  uint32_t which;  // of those that follow; the sentry takes them with an exchange
  uint32_t rseq_length, rseq_signature;
  uint64_t robust_list, tid_address, rseq;
};

// A signal frame for the guest's stack.
struct FramePush {
  uint32_t wanted;
  uint32_t state_size;  // of the extended state: XSAVE image without the closing magic
  uint64_t features;    // its components
  uint64_t address, fp_address;
  abi::RtSigFrame frame;
};

// A call that the thread makes on the host by itself.
struct HostCall {
  uint32_t nr;
  uint32_t has_deadline;  // `deadline` stands for the pointer to a timeout
  uint64_t args[6];
  int64_t deadline[2];  // struct timespec, absolute
};

// A read of a file into guest memory.
struct FileRead {
  uint64_t address, length, offset;
  int32_t fd;
};

// Calls that may end the process or its memory: the thread takes what the host counted along, since asking for it would
// be one more trip.
inline constexpr bool BringsUsage(uint64_t nr) {
  return nr == 59 /*execve*/ || nr == 231 /*exit_group*/ || nr == 322 /*execveat*/;
}

// ThreadPage::interrupted, bits.
inline constexpr uint32_t kInterruptedByControl = 1, kInterruptedBySignal = 2;

struct ThreadPage {
  Request request;

  // --- written by the sentry: the answer
  alignas(64) uint32_t go;  // futex: the answer to a waiting thread is complete
  Command command;
  Resume resume;
  uint32_t op_count;
  int64_t return_value;
  uint32_t spin_cycles;  // time-stamp counter ticks to wait for `go` before sleeping; may sink to 0
                         // meanwhile
  uint32_t output_count;
  Output outputs[kMaxOutputs];

  alignas(64) uint32_t want_park;  // the next control signal means: save registers, then wait for `go`
  uint32_t filled_wanted;          // somebody waits for `filled`
  uint32_t cmpxchg_expected, cmpxchg_desired;

  // --- written by the stub
  alignas(64) uint32_t sleeping;  // waits for `go` in the kernel, or is about to
  uint32_t interrupted;           // kInterrupted*: why the fast lane must ask before it leaves
  uint32_t cloning;               // set with kCloneAndResume, cleared when the clone is over: no control signals
                                  // meanwhile, which would have it made twice
  int32_t clone_tid;              // of the last clone, by the host; 0 before
  uint32_t asleep_in;             // number of the call that the thread waits in by itself; 0 = none
  uint64_t slept_since;           // time-stamp counter at the start of the last such wait
  uint32_t exit_full;             // the fast lane leaves with all of `regs`, not just with a result
  uint32_t failed_index;
  int32_t failed_errno;
  uint32_t filled;    // futex: a fresh stub has mapped and filled what its first answer says, or failed to
  uint32_t parked;    // futex: set when a thread asked by want_park has saved its registers
  uint64_t frame;     // address of the struct ucontext of the current trap; 0 in the fast lane
  uint64_t fp_state;  // address of its extended state
  int64_t result;
  arch::Registers regs;  // also written by the sentry, for Resume::kRegisters
  int32_t fault_signo, fault_code;
  uint64_t fault_address, fault_trapno, fault_error;

  // --- written by the sentry
  LocalAnswers local;
  LocalSignals signals;
  Settled settled;  // also written by the stub
  FramePush push;
  HostCall call;
  FileRead read;
  int64_t usage[18];  // struct rusage that `call` asks for, or that came along with the call (BringsUsage)
  uint64_t clone_flags;
  uint64_t clone_slot;  // address of the child's slot
  uint64_t clone_token;
  uint64_t cmpxchg_address;
  int32_t clone_fd;    // memory file of the child's thread page; -1: the slot of an earlier thread is used again
  uint64_t exit_word;  // kExitThread: where 0 is stored and a waiter woken, unless null
  Op ops[kMaxOps];
};
static_assert(sizeof(ThreadPage) <= kSlotPageSize);

// Private memory of a slot; see layout.h.
struct SlotPrivate {
  enum class Child : uint32_t {
    kFork,    // has its parent's slot
    kShares,  // its parent's memory, not its process
    kThread,  // waits for `go` instead of saying hello
  };
  uint64_t frame;  // 0: the child starts in the fast lane
  uint64_t token;
  int32_t page_fd;  // -1 when the child's page is mapped already
  Child child;
};

// At kConfigStart, read-only.
struct Config {
  InputTable inputs;
  uint32_t bases_readable;  // systrap/segment_bases.h; without it there is no fast lane
  uint32_t bases_writable;
  uint32_t filter_length;
  uint32_t has_clock_page;  // descriptor 1 of the zygote is to be mapped at kClockPage
  // XSAVE image of the state that programs and handlers start with.
  alignas(64) uint8_t initial_state[576];
  uint64_t filter_address;  // of the sock_filter array, inside the configuration pages
};

}  // namespace sandbox::platform::stub
