#include "platform/systrap/filter.h"

#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <initializer_list>

#include "base/check.h"
#include "platform/stub/layout.h"
#include "platform/stub/zygote_request.h"

namespace sandbox::platform::systrap {
namespace {

constexpr uint32_t kNr = offsetof(seccomp_data, nr);
constexpr uint32_t ArgLow(int i) { return offsetof(seccomp_data, args) + 8 * i; }
constexpr uint32_t ArgHigh(int i) { return ArgLow(i) + 4; }

// Since Linux 5.16 and 6.7; older headers lack them.
constexpr uint32_t kSysFutexWaitv = 449, kSysFutexWake = 454, kSysFutexWait = 455, kSysFutexRequeue = 456;

// What a direct call with other arguments gets: memory ops report it like any failure.
constexpr uint32_t kBadArgument = SECCOMP_RET_ERRNO | EINVAL;

// Emits one program.
class Builder {
 public:
  void Load(uint32_t offset) { Emit(BPF_LD | BPF_W | BPF_ABS, offset); }
  void Return(uint32_t what) { Emit(BPF_RET | BPF_K, what); }
  void Emit(uint16_t code, uint32_t k, uint8_t jt = 0, uint8_t jf = 0) { program_.push_back({code, jt, jf, k}); }
  // Jumps to the guest section; resolved by BindGuest.
  void ToGuest() {
    to_guest_.push_back(program_.size());
    Emit(BPF_JMP | BPF_JA, 0);
  }
  void BindGuest() {
    for (size_t at : to_guest_) program_[at].k = program_.size() - at - 1;
    to_guest_.clear();
  }

  // Runs `body` when the call number is `nr`; the body must end in a return. The accumulator holds nr on entry and
  // afterwards.
  template <typename F>
  void OnCall(uint32_t nr, F body) {
    const size_t at = program_.size();
    Emit(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 0);
    body();
    const size_t length = program_.size() - at - 1;
    CHECK(length < 256);
    program_[at].jf = length;
  }
  // Fails unless the low half of argument i is one of `values` (int parameters: the kernel ignores the high half).
  void RequireOneOf(int i, std::initializer_list<uint32_t> values) {
    Load(ArgLow(i));
    size_t left = values.size();
    for (uint32_t v : values) {
      // Past the remaining comparisons and the failure jump.
      Emit(BPF_JMP | BPF_JEQ | BPF_K, v, left, 0);
      --left;
    }
    Return(kBadArgument);
  }
  // Fails unless the 64-bit argument i has no bits outside `mask`.
  void RequireBits(int i, uint32_t mask) {
    Load(ArgHigh(i));
    Emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
    Return(kBadArgument);
    Load(ArgLow(i));
    Emit(BPF_JMP | BPF_JSET | BPF_K, ~mask, 0, 1);
    Return(kBadArgument);
  }

  std::vector<sock_filter> Take() { return std::move(program_); }

 private:
  std::vector<sock_filter> program_;
  std::vector<size_t> to_guest_;
};

// What stub code does by itself. Everything here acts on the calling process only.
void EmitDirectCalls(Builder& b) {
  const auto allow = [&b] { b.Return(SECCOMP_RET_ALLOW); };
  b.OnCall(SYS_futex, [&] {
    b.RequireOneOf(1,
                   {FUTEX_WAIT, FUTEX_WAKE, FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP, FUTEX_WAIT_BITSET,
                    FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, FUTEX_WAKE_BITSET, FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE,
                    FUTEX_REQUEUE_PRIVATE, FUTEX_CMP_REQUEUE_PRIVATE, FUTEX_WAKE_OP_PRIVATE, FUTEX_WAIT_BITSET_PRIVATE,
                    FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, FUTEX_WAKE_BITSET_PRIVATE});
    allow();
  });
  for (uint32_t nr : {SYS_rt_sigreturn, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_close, SYS_exit, SYS_exit_group}) {
    b.OnCall(nr, allow);
  }
  // Of files that the sentry injected; mapping them tells as much.
  b.OnCall(SYS_pread64, allow);
  // Files: only such as the sentry injected, which carry the guest's own access rights. No MAP_LOCKED, MAP_POPULATE,
  // MAP_HUGETLB: they would take memory that the sentry did not grant.
  b.OnCall(SYS_mmap, [&] {
    b.RequireBits(3, MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_GROWSDOWN | MAP_STACK |
                         MAP_FIXED_NOREPLACE | MAP_DENYWRITE | MAP_EXECUTABLE);
    allow();
  });
  // Not MADV_DOFORK 11 (thread pages must not be inherited), MERGEABLE (a side channel) or the privileged ones.
  b.OnCall(SYS_madvise, [&] {
    b.RequireOneOf(2, {0, 1, 2, 3, 4, 8, 9, 10, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 102, 103});
    allow();
  });
  // Of this process; the global ones would disturb others.
  b.OnCall(SYS_membarrier, [&] {
    b.RequireOneOf(0, {8, 16, 32, 64, 128, 256});
    b.RequireOneOf(1, {0});
    allow();
  });
  // About this process's own memory. mincore(2) tells of files only what their owner may know.
  b.OnCall(SYS_mincore, allow);
  b.OnCall(SYS_getrusage, [&] {
    b.RequireOneOf(0, {0 /*RUSAGE_SELF*/});
    allow();
  });
  b.OnCall(SYS_rseq, allow);
  for (uint32_t nr : {kSysFutexWaitv, kSysFutexWake, kSysFutexWait, kSysFutexRequeue}) b.OnCall(nr, allow);
  // The control signal only, while a handler waits; whoever masks it does not answer interrupts, and is killed for
  // that.
  b.OnCall(SYS_rt_sigprocmask, allow);
  // A new thread's.
  b.OnCall(SYS_sigaltstack, allow);
  b.OnCall(SYS_arch_prctl, [&] {
    b.RequireOneOf(0, {0x1001, 0x1002, 0x1003, 0x1004});
    allow();
  });
  b.OnCall(SYS_prctl, [&] {
    b.RequireOneOf(0, {1 /*PR_SET_PDEATHSIG*/});
    b.RequireOneOf(1, {9});
    allow();
  });
  b.OnCall(SYS_sched_yield, allow);
  // Of a fresh stub, on a socket that it closes before any guest code runs. What the sentry injects later is no socket.
  for (uint32_t nr : {SYS_sendmsg, SYS_recvmsg}) {
    b.OnCall(nr, [&] {
      b.RequireOneOf(0, {stub::kStubSocket});
      allow();
    });
  }
  // Approved by the sentry, argument by argument, while the call waits.
  b.OnCall(SYS_clone, [&b] { b.Return(SECCOMP_RET_USER_NOTIF); });
}

struct Run {
  uint32_t first;
  bool trap;
};

// A binary search over runs of equal treatment.

std::vector<sock_filter> Tree(const std::vector<Run>& runs, size_t from, size_t to) {
  if (to - from == 1) {
    const uint32_t ret = runs[from].trap ? SECCOMP_RET_TRAP : SECCOMP_RET_USER_NOTIF;
    return {BPF_STMT(BPF_RET | BPF_K, ret)};
  }
  const size_t middle = (from + to) / 2;
  std::vector<sock_filter> low = Tree(runs, from, middle);
  std::vector<sock_filter> high = Tree(runs, middle, to);
  std::vector<sock_filter> all;
  // Offsets above 255 need an unconditional jump.
  all.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, runs[middle].first, 0, 1));
  all.push_back(BPF_STMT(BPF_JMP | BPF_JA, static_cast<uint32_t>(low.size())));
  all.insert(all.end(), low.begin(), low.end());
  all.insert(all.end(), high.begin(), high.end());
  return all;
}

std::vector<Run> RunsOf(const LaneTable& lanes) {
  std::vector<Run> runs;
  for (uint32_t nr = 0; nr < lanes.size(); ++nr) {
    // Calls that may block are notified too: a few may wait there, and those beyond are parked
    // (GuestThread::BeginDefer). A notified clone is always the stub's own; a guest's must trap, whatever the table
    // says.
    const bool trap = lanes[nr] == Lane::kFull || nr == SYS_clone;
    if (runs.empty() || runs.back().trap != trap) runs.push_back({nr, trap});
  }
  if (runs.back().trap) runs.push_back({static_cast<uint32_t>(lanes.size()), false});
  return runs;
}

}  // namespace

std::vector<sock_filter> BuildStubFilter(const LaneTable& lanes) {
  static_assert(stub::kTextStart >> 32 == (stub::kTextStart + stub::kTextMax) >> 32);
  constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | ENOSYS;
  Builder b;
  b.Load(offsetof(seccomp_data, arch));
  b.Emit(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
  b.Return(SECCOMP_RET_TRAP);  // the handler makes it the fault that a host without the 32-bit gate raises
  b.Load(kNr);
  b.Emit(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);  // x32, and negative numbers
  b.Return(kRefuse);
  b.Load(offsetof(seccomp_data, instruction_pointer) + 4);
  b.Emit(BPF_JMP | BPF_JEQ | BPF_K, stub::kTextStart >> 32, 1, 0);
  b.ToGuest();
  b.Load(offsetof(seccomp_data, instruction_pointer));
  b.Emit(BPF_JMP | BPF_JGE | BPF_K, static_cast<uint32_t>(stub::kTextStart), 1, 0);
  b.ToGuest();
  b.Emit(BPF_JMP | BPF_JGE | BPF_K, static_cast<uint32_t>(stub::kTextStart + stub::kTextMax), 0, 1);
  b.ToGuest();
  b.Load(kNr);
  EmitDirectCalls(b);
  b.BindGuest();
  b.Load(kNr);
  const std::vector<Run> runs = RunsOf(lanes);
  for (const sock_filter& insn : Tree(runs, 0, runs.size())) b.Emit(insn.code, insn.k, insn.jt, insn.jf);
  return b.Take();
}

}  // namespace sandbox::platform::systrap
