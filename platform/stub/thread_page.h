// The page a stopped guest thread shares with the sentry. Both sides are described here and nowhere else.
//
// The stub half and the guest can write every byte at any time: the sentry copies a field once into its own memory and
// validates the copy, and nothing it needs for itself is kept here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "platform/arch/registers.h"
#include "platform/stub/layout.h"

namespace sandbox::platform::stub {

// Why the stub rings (first argument of the doorbell call).
enum class Bell : uint32_t {
  kHello = 1,  // a new host thread reports; second argument: its token
  kSyscall,    // registers, with orig_rax set
  kFault,      // registers and fault_*
  kInterrupt,  // registers; the control signal arrived
  kDone,       // a command other than kResume was carried out: result
  kOpFailed,   // failed_index, failed_errno; the ops after it and the command were not carried out
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
  kCompareExchange,  // cmpxchg_*, then ring kDone with result = value found, or -EFAULT
  kExitThread,
  kExitGroup,
};

enum class Resume : uint32_t {
  kUnchanged,  // the registers as they were saved
  kRegisters,  // the page's `regs`
  kReturn,     // the saved ones stand on a system call instruction: finish it with return_value
};

struct Op {
  enum class Kind : uint32_t { kMap, kUnmap, kProtect, kMove, kAdvise };
  Kind kind;
  int32_t fd;         // kMap; -1 for anonymous
  uint32_t close_fd;  // last use of fd
  uint32_t prot;
  uint32_t flags;  // of mmap or mremap; the advice
  uint32_t unused;
  uint64_t addr, length, offset, target, target_length;
};
static_assert(sizeof(Op) == 64);

inline constexpr uint32_t kMaxOps = 48;

struct ThreadPage {
  // --- written by the stub
  arch::Registers regs;  // also written by the sentry, for Resume::kRegisters
  uint64_t frame;        // address of the struct ucontext of the current trap
  uint64_t fp_state;     // address of its extended state
  int32_t fault_signo, fault_code;
  uint64_t fault_address, fault_trapno, fault_error;
  int64_t result;
  uint32_t failed_index;
  int32_t failed_errno;
  uint32_t parked;  // futex: set when a thread asked by want_park has saved its registers
  // Start of a pool stub only.
  int32_t host_pid;
  uint32_t listener_ready;  // futex
  int32_t listener_fd;

  // --- written by the sentry
  uint32_t go;         // futex: the answer to a waiting thread is complete
  uint32_t want_park;  // the next control signal means: save registers, then wait for `go`
  uint32_t listener_taken;  // futex
  Command command;
  Resume resume;
  uint32_t op_count;
  int64_t return_value;
  uint64_t clone_flags;
  uint64_t clone_slot;  // address of the child's slot
  uint64_t clone_token;
  int32_t clone_fd;     // memory file of the child's thread page
  uint32_t cmpxchg_expected, cmpxchg_desired;
  uint64_t cmpxchg_address;
  Op ops[kMaxOps];
};
static_assert(sizeof(ThreadPage) <= kSlotPageSize);

// Private memory of a slot; see layout.h.
struct SlotPrivate {
  uint64_t frame;
  uint64_t token;
  int32_t page_fd;  // -1 when the parent mapped the child's page already
};

// At kConfigStart, read-only.
struct Config {
  uint32_t has_fsgsbase;  // rdfsbase and friends may be used
  uint32_t filter_length;
  uint64_t filter_address;  // of the sock_filter array, inside the configuration pages
};

}  // namespace sandbox::platform::stub
