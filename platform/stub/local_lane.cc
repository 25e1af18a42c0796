#include "platform/stub/local_lane.h"

#include "abi/clock_page.h"
#include "platform/stub/guest_access.h"
#include "platform/stub/segment_bases.h"

namespace sandbox::platform::stub {
namespace {

constexpr uint32_t kCallRtSigaction = 13, kCallRtSigprocmask = 14, kCallSchedYield = 24, kCallGetpid = 39,
                   kCallGettimeofday = 96, kCallGetuid = 102, kCallGetgid = 104, kCallGeteuid = 107, kCallGetegid = 108,
                   kCallGettid = 186, kCallArchPrctl = 158, kCallTime = 201, kCallFutex = 202, kCallSetTidAddress = 218,
                   kCallClockGettime = 228, kCallSetRobustList = 273, kCallGetcpu = 309, kCallRseq = 334;
constexpr long kInterruptedCall = -4;  // -EINTR
constexpr uint64_t kNsPerSecond = 1'000'000'000;
// SIGKILL and SIGSTOP are never masked.
constexpr uint64_t kUnmaskable = 1ull << 8 | 1ull << 18;

STUB_INLINE bool AnswerIdentity(ThreadPage* page, uint32_t nr) {
  arch::Registers& r = page->regs;
  const LocalAnswers& local = page->local;
  if (nr == kCallGetpid) {
    r.rax = static_cast<int64_t>(local.pid);
  } else if (nr == kCallGettid) {
    r.rax = static_cast<int64_t>(local.tid);
  } else if (!local.has_ids) {
    return false;
  } else if (nr == kCallGetuid) {
    r.rax = local.uid;
  } else if (nr == kCallGeteuid) {
    r.rax = local.euid;
  } else if (nr == kCallGetgid) {
    r.rax = local.gid;
  } else if (nr == kCallGetegid) {
    r.rax = local.egid;
  } else {
    return false;
  }
  return true;
}

// 0 when the page of the clocks does not know.
STUB_INLINE uint64_t ReadClock(int clock) {
  return abi::ReadClockPage(reinterpret_cast<const volatile abi::ClockPage*>(kClockPage), clock);
}

STUB_INLINE bool AnswerClock(ThreadPage* page, uint32_t nr) {
  arch::Registers& r = page->regs;
  uint64_t out[2];
  if (nr == kCallClockGettime) {
    const uint64_t ns = ReadClock(static_cast<int>(r.rdi));
    out[0] = ns / kNsPerSecond;
    out[1] = ns % kNsPerSecond;
    if (ns == 0 || !WriteGuest(r.rsi, out, sizeof(out))) return false;
    r.rax = 0;
    return true;
  }
  if (nr == kCallGettimeofday && r.rsi != 0) return false;
  const uint64_t ns = ReadClock(abi::kClockRealtime);
  if (ns == 0) return false;
  out[0] = ns / kNsPerSecond;
  out[1] = ns % kNsPerSecond / 1000;
  const uint64_t size = nr == kCallTime ? sizeof(out[0]) : sizeof(out);
  if (r.rdi != 0 && !WriteGuest(r.rdi, out, size)) return false;
  r.rax = nr == kCallTime ? out[0] : 0;
  return true;
}

// The kernel keeps the number of the processor, and above 12 bits that of its node, in the limit of this segment
// (arch/x86/include/asm/segment.h: __CPUNODE_SEG).
STUB_INLINE bool AnswerGetcpu(ThreadPage* page) {
  constexpr uint32_t kProcessorSegment = 0x7b;
  arch::Registers& r = page->regs;
  if (!page->local.host_processor) return false;
  uint32_t limit;
  asm volatile("lsl %1, %0" : "=r"(limit) : "r"(kProcessorSegment));
  const uint32_t processor = limit & 0xfff, node = limit >> 12;
  if (r.rdi != 0 && !WriteGuest(r.rdi, &processor, sizeof(processor))) return false;
  if (r.rsi != 0 && !WriteGuest(r.rsi, &node, sizeof(node))) return false;
  r.rax = 0;
  return true;
}

STUB_INLINE bool SignalsPending(const ThreadPage* page) {
  return __atomic_load_n(&page->signals.pending, __ATOMIC_SEQ_CST) != 0;
}

// Either the sentry sees this mask when it decides about a signal, or it said before that signals are pending: then
// it has to look at them. True in that case.
STUB_INLINE bool SetMask(ThreadPage* page, uint64_t mask) {
  __atomic_store_n(&page->signals.mask, mask & ~kUnmaskable, __ATOMIC_SEQ_CST);
  return SignalsPending(page);
}

STUB_INLINE bool ChangeMask(ThreadPage* page) {
  arch::Registers& r = page->regs;
  // With something pending a change of the mask may deliver it, or leave it to another thread.
  if (r.r10 != sizeof(uint64_t) || SignalsPending(page)) return false;
  const uint64_t before = page->signals.mask;
  uint64_t change = 0, after = before;
  if (r.rsi != 0) {
    if (!ReadGuest(&change, r.rsi, sizeof(change))) return false;
    const uint32_t how = static_cast<uint32_t>(r.rdi);
    if (how == 0) {
      after = before | change;
    } else if (how == 1) {
      after = before & ~change;
    } else if (how == 2) {
      after = change;
    } else {
      return false;
    }
  }
  if (r.rdx != 0 && !WriteGuest(r.rdx, &before, sizeof(before))) return false;
  r.rax = 0;
  if (r.rsi != 0 && SetMask(page, after)) SetInterrupted(page, kInterruptedBySignal);
  return true;
}

struct Action {
  uint64_t handler, flags, restorer, mask;
};

// About signals that have the action that they started with: what it is, and, from the only thread that they concern,
// that it shall be so. posix_spawn does both for each signal.
STUB_INLINE bool AnswerAction(ThreadPage* page) {
  constexpr uint64_t kRestorerFlag = 0x04000000;
  arch::Registers& r = page->regs;
  LocalSignals& signals = page->signals;
  const uint32_t signo = static_cast<uint32_t>(r.rdi);
  if (r.r10 != sizeof(uint64_t) || signo < 1 || signo > 64) return false;
  const uint64_t bit = 1ull << (signo - 1);
  if ((__atomic_load_n(&signals.untouched_actions, __ATOMIC_SEQ_CST) & bit) == 0) return false;
  const uint64_t restorer = (signals.defaulted_actions & bit) != 0 ? signals.default_restorer : 0;
  if (r.rsi != 0) {
    Action action;
    if (!signals.sole_thread || (kUnmaskable & bit) != 0 || !ReadGuest(&action, r.rsi, sizeof(action))) return false;
    const uint64_t wanted = action.flags != 0 ? action.restorer : 0;
    if (action.handler != 0 || action.mask != 0 || (action.flags & ~kRestorerFlag) != 0) return false;
    // Without the flag the restorer is remembered all the same; all have one and the same here.
    if ((action.flags == 0) != (action.restorer == 0)) return false;
    if (signals.defaulted_actions != 0 && signals.default_restorer != wanted) return false;
    // The default of some is to be ignored, which takes away what is pending.
    if (SignalsPending(page)) return false;
    signals.default_restorer = wanted;
    __atomic_store_n(&signals.defaulted_actions, signals.defaulted_actions | bit, __ATOMIC_RELAXED);
  }
  if (r.rdx != 0) {
    Action old;
    *const_cast<volatile uint64_t*>(&old.handler) = 0;
    *const_cast<volatile uint64_t*>(&old.flags) = restorer != 0 ? kRestorerFlag : 0;
    *const_cast<volatile uint64_t*>(&old.restorer) = restorer;
    *const_cast<volatile uint64_t*>(&old.mask) = 0;
    if (!WriteGuest(r.rdx, &old, sizeof(old))) return false;
  }
  r.rax = 0;
  return true;
}

// Waits and wake-ups without priorities. A wait that is interrupted is the sentry's from there on.
STUB_INLINE Local AnswerFutex(ThreadPage* page) {
  constexpr uint32_t kPrivate = 128, kRealtimeClock = 256, kWait = 0, kWake = 1, kRequeue = 3, kCompareRequeue = 4,
                     kWakeOp = 5, kWaitBitset = 9, kWakeBitset = 10;
  arch::Registers& r = page->regs;
  const uint32_t op = static_cast<uint32_t>(r.rsi), command = op & ~kPrivate;
  if (!page->local.host_futexes) return Local::kAsk;
  const bool waits = command == kWait || command == kWaitBitset || command == (kWaitBitset | kRealtimeClock);
  if (!waits && command != kWake && command != kRequeue && command != kCompareRequeue && command != kWakeOp &&
      command != kWakeBitset) {
    return Local::kAsk;
  }
  if (!waits) {
    r.rax = Call6(kSysFutex, r.rdi, op, r.rdx, r.r10, r.r8, r.r9);
    return Local::kAnswered;
  }
  HostCall call;
  call.nr = kCallFutex;
  call.args[0] = r.rdi;
  call.args[1] = op;
  call.args[2] = r.rdx;
  call.args[3] = r.r10;
  call.args[4] = r.r8;
  call.args[5] = r.r9;
  const long result = RunHostCall(page, call);
  if (result == kInterruptedCall) {
    // Why is seen when the sentry has served the call.
    page->interrupted = 0;
    return Local::kAskWaited;
  }
  r.rax = result;
  return Local::kAnswered;
}

STUB_INLINE void NoteSettled(ThreadPage* page, uint32_t what) {
  __atomic_or_fetch(&page->settled.which, what, __ATOMIC_RELEASE);
}

// What every program and every thread starts with.
STUB_INLINE bool AnswerStart(ThreadPage* page, uint32_t nr) {
  constexpr uint64_t kRobustHeadSize = 24, kArchSetFs = 0x1002;
  arch::Registers& r = page->regs;
  Settled& settled = page->settled;
  if (nr == kCallSetRobustList) {
    if (r.rsi != kRobustHeadSize) return false;
    settled.robust_list = r.rdi;
    NoteSettled(page, Settled::kRobustList);
    r.rax = 0;
  } else if (nr == kCallSetTidAddress) {
    settled.tid_address = r.rdi;
    NoteSettled(page, Settled::kTidAddress);
    r.rax = static_cast<int64_t>(page->local.tid);
  } else if (nr == kCallRseq) {
    // The host's refusals are the sentry's to tell.
    if (r.rdx != 0 || !InGuest(r.rdi, static_cast<uint32_t>(r.rsi)) ||
        Call4(kSysRseq, r.rdi, static_cast<uint32_t>(r.rsi), 0, static_cast<uint32_t>(r.r10)) != 0) {
      return false;
    }
    settled.rseq = r.rdi;
    settled.rseq_length = static_cast<uint32_t>(r.rsi);
    settled.rseq_signature = static_cast<uint32_t>(r.r10);
    NoteSettled(page, Settled::kRseq);
    r.rax = 0;
  } else {
    if (static_cast<uint32_t>(r.rdi) != kArchSetFs || r.rsi >= kRegionStart) return false;
    WriteFsBase(r.rsi);
    r.fs_base = r.rsi;
    r.rax = 0;
  }
  return true;
}

STUB_INLINE bool IsStart(uint32_t nr) {
  return nr == kCallSetRobustList || nr == kCallSetTidAddress || nr == kCallRseq || nr == kCallArchPrctl;
}

STUB_INLINE bool AnswerAtOnce(ThreadPage* page, uint32_t nr) {
  if (nr == kCallRtSigprocmask) return ChangeMask(page);
  if (nr == kCallRtSigaction) return AnswerAction(page);
  if (nr == kCallClockGettime || nr == kCallGettimeofday || nr == kCallTime) return AnswerClock(page, nr);
  if (nr == kCallGetcpu) return AnswerGetcpu(page);
  if (IsStart(nr)) return AnswerStart(page, nr);
  if (nr == kCallSchedYield) {
    page->regs.rax = Call3(kSysSchedYield, 0);
    return true;
  }
  return AnswerIdentity(page, nr);
}

}  // namespace

Local AnswerLocally(ThreadPage* page) {
  const uint32_t nr = static_cast<uint32_t>(page->regs.rax);
  if (__atomic_load_n(&page->local.valid, __ATOMIC_RELAXED) == 0) return Local::kAsk;
  if (nr == kCallFutex) return AnswerFutex(page);
  return AnswerAtOnce(page, nr) ? Local::kAnswered : Local::kAsk;
}

bool AnswerTrapped(ThreadPage* page) {
  const uint32_t nr = static_cast<uint32_t>(page->regs.orig_rax);
  return IsStart(nr) && __atomic_load_n(&page->local.valid, __ATOMIC_RELAXED) != 0 && AnswerStart(page, nr);
}

// The guest's frame has the host's layout, so the host returns through a copy of it, in which the mask and the signal
// stack are the host's own. The copy, because the guest's frame is not ours to change: a guest may use it once more.
void SignalReturnLocally(ThreadPage* page, const UContext* trap) {
  if (__atomic_load_n(&page->local.valid, __ATOMIC_RELAXED) == 0 || SignalsPending(page)) return;
  UContext frame;
  if (!ReadGuest(&frame, trap->mcontext.rsp, sizeof(frame))) return;
  const LocalSignals& signals = page->signals;
  if (frame.stack_sp != signals.stack_sp || frame.stack_size != signals.stack_size ||
      frame.stack_flags != signals.stack_flags) {
    return;
  }
  // The sentry does it once more when it has to look.
  if (SetMask(page, frame.sigmask)) return;
  frame.sigmask = 0;
  frame.stack_sp = trap->stack_sp;
  frame.stack_flags = trap->stack_flags;
  frame.stack_size = trap->stack_size;
  ReturnFromSignal(&frame);
}

}  // namespace sandbox::platform::stub
