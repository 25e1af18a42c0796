// The stub's signal handler: saves the guest's registers into the thread page, rings, and carries out the answer.
#include "platform/stub/call_data.h"
#include "platform/stub/frame.h"
#include "platform/stub/guest_access.h"
#include "platform/stub/local_lane.h"
#include "platform/stub/segment_bases.h"

namespace sandbox::platform::stub {
namespace {

constexpr int kSigIll = 4, kSigTrap = 5, kSigBus = 7, kSigSegv = 11, kSigSys = 31;
constexpr int kCodeKernel = 0x80;  // SI_KERNEL
constexpr uint32_t kArchX8664 = 0xc000003e;
constexpr uint64_t kTrapGeneralProtection = 13;

STUB_INLINE void SaveRegisters(ThreadPage* page, const UContext* uc) {
  const SigContext& s = uc->mcontext;
  arch::Registers& r = page->regs;
  r.r15 = s.r15;
  r.r14 = s.r14;
  r.r13 = s.r13;
  r.r12 = s.r12;
  r.rbp = s.rbp;
  r.rbx = s.rbx;
  r.r11 = s.r11;
  r.r10 = s.r10;
  r.r9 = s.r9;
  r.r8 = s.r8;
  r.rax = s.rax;
  r.rcx = s.rcx;
  r.rdx = s.rdx;
  r.rsi = s.rsi;
  r.rdi = s.rdi;
  r.orig_rax = ~0ull;
  r.rip = s.rip;
  r.cs = s.cs;
  r.eflags = s.eflags;
  r.rsp = s.rsp;
  r.ss = s.ss;
  r.fs_base = ReadFsBase();
  r.gs_base = GuestGsBase(page, ReadGsBase());
  r.ds = 0;
  r.es = 0;
  r.fs = s.fs;
  r.gs = s.gs;
  page->frame = reinterpret_cast<uint64_t>(uc);
  page->fp_state = s.fpstate;
}

// Segment selectors stay as they are: the kernel would only accept user ones, and the sentry has no use for others.
STUB_INLINE void LoadRegisters(const ThreadPage* page, UContext* uc) {
  SigContext& s = uc->mcontext;
  const arch::Registers& r = page->regs;
  s.r15 = r.r15;
  s.r14 = r.r14;
  s.r13 = r.r13;
  s.r12 = r.r12;
  s.rbp = r.rbp;
  s.rbx = r.rbx;
  s.r11 = r.r11;
  s.r10 = r.r10;
  s.r9 = r.r9;
  s.r8 = r.r8;
  s.rax = r.rax;
  s.rcx = r.rcx;
  s.rdx = r.rdx;
  s.rsi = r.rsi;
  s.rdi = r.rdi;
  s.rip = r.rip;
  s.eflags = r.eflags;
  s.rsp = r.rsp;
  if (r.fs_base != ReadFsBase()) WriteFsBase(r.fs_base);
  const uint64_t gs_base = HostGsBase(page, r.gs_base);
  if (gs_base != ReadGsBase()) WriteGsBase(gs_base);
}

STUB_INLINE void SaveFault(ThreadPage* page, UContext* uc, int signo, const SigInfo* info) {
  if (signo == kSigSys) {
    // `int 0x80`: a host without 32-bit emulation raises a general protection fault on the instruction.
    uc->mcontext.rip -= 2;
    page->fault_signo = kSigSegv;
    page->fault_code = kCodeKernel;
    page->fault_address = 0;
    page->fault_trapno = kTrapGeneralProtection;
    page->fault_error = 0x80 * 8 + 2;
    return;
  }
  page->fault_signo = signo;
  page->fault_code = info->code;
  page->fault_address = info->address;
  page->fault_trapno = uc->mcontext.trapno;
  page->fault_error = uc->mcontext.err;
}

STUB_INLINE void __attribute__((noreturn)) ReturnToGuest(UContext* uc) {
  uc->sigmask = 0;  // guests' signal masks are the sentry's business; on the host nothing is ever masked in guest code
  ReturnFromSignal(uc);
}

// A signal that found stub code running. Returns when it asked for its signal frame: a fresh stub (true), or the fast
// lane. The others are an access that met a bad guest page (guest_access.cc), a guest that steps through its own code,
// and the control signal in the fast lane, which shall finish what it does. What is left is a stub that the guest
// broke.
STUB_INLINE bool HandleStubSignal(ThreadPage* page, int signo, UContext* uc) {
  const uint64_t ip = uc->mcontext.rip;
  if (signo == kControlSignal) {
    SetInterrupted(page, kInterruptedByControl);
    const uint64_t exit = reinterpret_cast<uint64_t>(&StubFastExit);
    const uint64_t sleep = reinterpret_cast<uint64_t>(&StubSleepBegin);
    if (ip - exit < reinterpret_cast<uint64_t>(&StubFastExitEnd) - exit) {
      uc->mcontext.rip = exit;
    } else if (ip - sleep < reinterpret_cast<uint64_t>(&StubSleepEnd) - sleep) {
      uc->mcontext.rip = reinterpret_cast<uint64_t>(&StubSleepInterrupted);
    }
    ReturnFromSignal(uc);
  }
  if (signo == kSigTrap) ReturnFromSignal(uc);
  const uint64_t access = reinterpret_cast<uint64_t>(&StubAccessBegin);
  if ((signo == kSigSegv || signo == kSigBus) && ip - access < reinterpret_cast<uint64_t>(&StubAccessEnd) - access) {
    uc->mcontext.rip = reinterpret_cast<uint64_t>(&StubAccessFixup);
    ReturnFromSignal(uc);
  }
  if (signo == kSigIll && ip == reinterpret_cast<uint64_t>(&StubStartInsn)) return true;
  if (signo != kSigIll || ip != reinterpret_cast<uint64_t>(&StubFrameInsn)) Call3(kSysExitGroup, 1);
  return false;
}

}  // namespace

void StubHandler(int signo, void* info_ptr, void* ucontext) {
  auto* uc = static_cast<UContext*>(ucontext);
  const auto* info = static_cast<const SigInfo*>(info_ptr);
  ThreadPage* page = PageOf(reinterpret_cast<uint64_t>(uc));
  // Sent by kill(2): only somebody outside the sandbox could, and it means nothing to the guest.
  if (signo != kControlSignal && info->code <= 0) ReturnFromSignal(uc);
  const uint64_t frame = reinterpret_cast<uint64_t>(uc);
  if (uc->mcontext.rip - kTextStart < kTextMax) {
    const bool starts = HandleStubSignal(page, signo, uc);
    page->frame = frame;
    page->fp_state = uc->mcontext.fpstate;
    ServeAnswers(page, frame, starts ? static_cast<long>(Answer::kProceed) : Ring(Bell::kDone));
  }
  Bell bell = Bell::kFault;
  if (signo == kSigSys && info->arch == kArchX8664) {
    if (info->syscall == kSysRtSigreturn) SignalReturnLocally(page, uc);
    SaveRegisters(page, uc);
    page->regs.orig_rax = static_cast<uint32_t>(info->syscall);
    if (AnswerTrapped(page)) {
      uc->mcontext.rax = page->regs.rax;
      uc->mcontext.rcx = uc->mcontext.rip;
      uc->mcontext.r11 = uc->mcontext.eflags;
      ReturnToGuest(uc);
    }
    TakeUsageAlong(page, page->regs.orig_rax);
    bell = Bell::kSyscall;
  } else if (signo == kControlSignal) {
    SaveRegisters(page, uc);
    if (page->want_park) {
      page->want_park = 0;
      SetAndWake(&page->parked);
      ServeAnswers(page, frame, static_cast<long>(Answer::kWait));
    }
    bell = Bell::kInterrupt;
  } else {
    SaveFault(page, uc, signo, info);
    SaveRegisters(page, uc);
  }
  ServeAnswers(page, frame, Ring(bell));
}

// Linux: mm_release. The slot is this thread's until it is gone, so nobody can take its stack away.
STUB_INLINE void ExitThread(ThreadPage* page) {
  const uint64_t word = page->exit_word;
  const uint32_t zero = 0;
  if (word != 0 && WriteGuest(word, &zero, sizeof(zero))) Call6(kSysFutex, word, /*FUTEX_WAKE*/ 1, 1, 0, 0, 0);
  Call3(kSysExit, 0);
}

STUB_INLINE long ReadFile(const FileRead& read) {
  const auto fd = static_cast<uint64_t>(static_cast<int64_t>(read.fd));
  const long result = Call4(kSysPread64, fd, read.address, read.length, read.offset);
  Call3(kSysClose, fd);
  return result;
}

void CarryOutAnswers(ThreadPage* page, uint64_t frame, long how) {
  for (;;) {
    // Any error means that nobody listens any more.
    if (how < 0) Call3(kSysExitGroup, 1);
    if (how == static_cast<long>(Answer::kWait)) AwaitGo(page);
    const Command command = page->command;
    if (command == Command::kExitGroup) Call3(kSysExitGroup, 0);
    if (page->output_count != 0) CopyOutputs(page);
    if (page->op_count != 0 && !RunOps(page) && command != Command::kExitThread) {
      how = Ring(Bell::kOpFailed);
      continue;
    }
    if (command == Command::kExitThread) ExitThread(page);
    if (page->push.wanted && !PushSignalFrame(page)) {
      how = Ring(Bell::kFrameFailed);
      continue;
    }
    if (command == Command::kResume) return;
    if (command == Command::kMakeFrame && frame == 0) StubFrameInsn();
    if (command == Command::kCloneAndResume) {
      const long tid = RunClone(page, frame);
      // Either the sentry sees this and sends its signal, or StubFastExit sees that it wanted to.
      __atomic_store_n(&page->cloning, 0, __ATOMIC_SEQ_CST);
      if (tid > 0) return;
      page->result = tid;
      how = Ring(Bell::kCloneFailed);
      continue;
    }
    if (command == Command::kClone) {
      page->result = RunClone(page, frame);
    } else if (command == Command::kCall) {
      page->result = RunOrderedCall(page, frame);
    } else if (command == Command::kRead) {
      page->result = ReadFile(page->read);
    } else if (command == Command::kCompareExchange) {
      page->result = StubCompareExchange(page->cmpxchg_address, page->cmpxchg_expected, page->cmpxchg_desired);
    }
    how = Ring(Bell::kDone);
  }
}

void ServeAnswers(ThreadPage* page, uint64_t frame, long how) {
  auto* uc = reinterpret_cast<UContext*>(frame);
  CarryOutAnswers(page, frame, how);
  if (page->resume == Resume::kRegisters) {
    LoadRegisters(page, uc);
  } else if (page->resume == Resume::kReturn) {
    uc->mcontext.rip += arch::kSyscallInsnLength;
    uc->mcontext.rax = page->return_value;
    uc->mcontext.rcx = uc->mcontext.rip;
    uc->mcontext.r11 = uc->mcontext.eflags;
  }
  ReturnToGuest(uc);
}

bool RunOps(ThreadPage* page) {
  const uint32_t count = page->op_count;
  page->op_count = 0;
  for (uint32_t i = 0; i < count && i < kMaxOps; ++i) {
    const Op* op = &page->ops[i];
    long r;
    if (op->kind == Op::Kind::kMap) {
      r = Call6(kSysMmap, op->addr, op->length, op->prot, op->flags, static_cast<int64_t>(op->fd), op->offset);
      if (op->close_fd) Call3(kSysClose, static_cast<uint64_t>(op->fd));
    } else if (op->kind == Op::Kind::kUnmap) {
      r = Call3(kSysMunmap, op->addr, op->length);
    } else if (op->kind == Op::Kind::kProtect) {
      r = Call3(kSysMprotect, op->addr, op->length, op->prot);
    } else if (op->kind == Op::Kind::kMove) {
      r = Call6(kSysMremap, op->addr, op->length, op->target_length, op->flags, op->target, 0);
    } else if (op->kind == Op::Kind::kMembarrier) {
      r = Call3(kSysMembarrier, op->flags, 0);
    } else if (op->kind == Op::Kind::kRseq) {
      r = Call6(kSysRseq, op->addr, op->length, op->flags, op->offset, 0, 0);
    } else {
      r = Call3(kSysMadvise, op->addr, op->length, op->flags);
    }
    if (r >= 0 || r < -4095) continue;
    page->failed_index = i;
    page->failed_errno = static_cast<int32_t>(-r);
    // The files of the ops that are dropped now must not stay open.
    for (++i; i < count && i < kMaxOps; ++i) {
      if (page->ops[i].close_fd) Call3(kSysClose, static_cast<uint64_t>(page->ops[i].fd));
    }
    return false;
  }
  return true;
}

// rt_sigreturn is issued by ReturnToGuest; a handler that returned normally would mean a bug in this file.
asm(".pushsection stub_text,\"ax\",@progbits\n"
    ".globl StubRestorer\n.hidden StubRestorer\n"
    "StubRestorer:\n"
    "  mov $15, %eax\n"
    "  syscall\n"
    "  ud2\n"
    ".globl StubStartInsn\n.hidden StubStartInsn\n"
    "StubStartInsn:\n"
    "  ud2\n"
    ".globl StubFrameInsn\n.hidden StubFrameInsn\n"
    "StubFrameInsn:\n"
    "  ud2\n"
    ".popsection\n");

}  // namespace sandbox::platform::stub
