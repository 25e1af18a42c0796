// The fast lane: a call whose site was rewritten comes here without a trap, and is answered on the
// spot, handed to a sentry thread that watches the page, or rung in.
//
// Entered in the middle of guest code, at any moment: nothing may be touched but rax, rcx and r11
// (which the instruction that stands here clobbers as well), neither the guest's stack nor its red
// zone, and not even the flags until they are safe. Signals are not masked; see StubHandler for the
// one that may come.
#include <cstddef>

#include "platform/stub/call_data.h"
#include "platform/stub/local_lane.h"
#include "platform/stub/segment_bases.h"
#include "platform/stub/stub_syscall.h"

namespace sandbox::platform::stub {
namespace {

// What the kernel lets sigreturn set in the flags (arch/x86/kernel/signal_64.c), and what it always
// sets.
constexpr uint64_t kUserFlags = 0x50dd5, kFixedFlags = 0x202;

STUB_INLINE void FillRequest(ThreadPage* page) {
  const arch::Registers& r = page->regs;
  Request& request = page->request;
  request.nr = static_cast<uint32_t>(r.rax);
  request.args[0] = r.rdi;
  request.args[1] = r.rsi;
  request.args[2] = r.rdx;
  request.args[3] = r.r10;
  request.args[4] = r.r8;
  request.args[5] = r.r9;
  request.rip = r.rip;
}

// Whether a sentry thread takes up the call that was posted. The one that was to watch the page may have got no
// processor, or be busy with another's call; then the call is this thread's again.
STUB_INLINE bool IsTakenUp(ThreadPage* page) {
  const uint64_t start = CycleCounter();
  while (__atomic_load_n(&page->request.door, __ATOMIC_ACQUIRE) == kDoorPosted) {
    if (CycleCounter() - start >= __atomic_load_n(&page->spin_cycles, __ATOMIC_RELAXED)) {
      uint32_t door = kDoorPosted;
      return !__atomic_compare_exchange_n(&page->request.door, &door, kDoorClosed, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED);
    }
    __builtin_ia32_pause();
  }
  return true;
}

}  // namespace

void TakeResume(ThreadPage* page) {
  arch::Registers& r = page->regs;
  if (page->resume != Resume::kRegisters) {
    r.rax = page->return_value;
    return;
  }
  // The sentry sends such only to a thread with a signal frame.
  if (r.rip >> 47 != 0 || r.fs_base >> 47 != 0 || r.gs_base != 0) Call3(kSysExitGroup, 1);
  if (r.fs_base != ReadFsBase()) WriteFsBase(r.fs_base);
  r.eflags = (r.eflags & kUserFlags) | kFixedFlags;
  page->exit_full = 1;
}

void StubFastCall(ThreadPage* page) {
  page->frame = 0;
  page->exit_full = 0;
  const Local local = AnswerLocally(page);
  if (local == Local::kAnswered) return;
  FillRequest(page);
  TakeInputs(page);
  TakeUsageAlong(page, page->request.nr);
  uint32_t door = kDoorOpen;
  long how = static_cast<long>(Answer::kWait);
  if (local == Local::kAskWaited) {
    how = Ring(Bell::kWaited);
  } else if (__atomic_load_n(&page->request.door, __ATOMIC_RELAXED) != kDoorOpen ||
             !__atomic_compare_exchange_n(&page->request.door, &door, kDoorPosted, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED) ||
             !IsTakenUp(page)) {
    how = Ring(Bell::kFast);
  }
  CarryOutAnswers(page, 0, how);
  TakeResume(page);
}

void StubFastInterrupted(ThreadPage* page) {
  const uint32_t why = __atomic_exchange_n(&page->interrupted, 0, __ATOMIC_RELAXED);
  arch::Registers& r = page->regs;
  if (!page->exit_full) {
    r.rcx = r.rip;
    r.r11 = r.eflags;
  }
  r.orig_rax = arch::kNoSyscall;
  r.cs = arch::kUserCs;
  r.ss = arch::kUserSs;
  page->frame = 0;
  CarryOutAnswers(page, 0, Ring(why & kInterruptedBySignal ? Bell::kSignals : Bell::kInterrupt));
  TakeResume(page);
}

#define PAGE(member) "%%gs:%c[" #member "]"
#define SAVE(reg) "mov %%" #reg ", " PAGE(reg) "\n"
#define LOAD(reg) "mov " PAGE(reg) ", %%" #reg "\n"
// What a call leaves alone, apart from the stack pointer.
#define EACH_KEPT(what) \
  what(rbx) what(rbp) what(r12) what(r13) what(r14) what(r15) what(rdi) what(rsi) what(rdx) what(r10) what(r8) what(r9)
#define OFFSETS                                                                                               \
  [user_cs] "i"(arch::kUserCs), [user_ss] "i"(arch::kUserSs), [fast_stack] "i"(kSlotFastStackEnd),            \
      [interrupted] "i"(offsetof(ThreadPage, interrupted)), [exit_full] "i"(offsetof(ThreadPage, exit_full)), \
      [rax] "i"(offsetof(ThreadPage, regs.rax)), [rbx] "i"(offsetof(ThreadPage, regs.rbx)),                   \
      [rcx] "i"(offsetof(ThreadPage, regs.rcx)), [rdx] "i"(offsetof(ThreadPage, regs.rdx)),                   \
      [rsi] "i"(offsetof(ThreadPage, regs.rsi)), [rdi] "i"(offsetof(ThreadPage, regs.rdi)),                   \
      [rbp] "i"(offsetof(ThreadPage, regs.rbp)), [rsp] "i"(offsetof(ThreadPage, regs.rsp)),                   \
      [r8] "i"(offsetof(ThreadPage, regs.r8)), [r9] "i"(offsetof(ThreadPage, regs.r9)),                       \
      [r10] "i"(offsetof(ThreadPage, regs.r10)), [r11] "i"(offsetof(ThreadPage, regs.r11)),                   \
      [r12] "i"(offsetof(ThreadPage, regs.r12)), [r13] "i"(offsetof(ThreadPage, regs.r13)),                   \
      [r14] "i"(offsetof(ThreadPage, regs.r14)), [r15] "i"(offsetof(ThreadPage, regs.r15)),                   \
      [rip] "i"(offsetof(ThreadPage, regs.rip)), [eflags] "i"(offsetof(ThreadPage, regs.eflags)),             \
      [fs_base] "i"(offsetof(ThreadPage, regs.fs_base)), [gs_base] "i"(offsetof(ThreadPage, regs.gs_base))

// Whether GS is ours is decided without touching the flags: jrcxz is the one branch that does not
// look at them. The base of a slot has no low 16 bits, and 0x7fff above its low 32, where no guest
// mapping is.
static_assert(kSlotsStart >> 32 == 0x7fff && kRegionStart == uint64_t{0x7fff} << 32 &&
              (kRegionEnd - 1) >> 32 == 0x7fff);
static_assert(kSlotsStart % kSlotSize == 0 && kSlotSize % (1 << 16) == 0);
__attribute__((naked)) void StubFastEntry() {
  asm volatile(
      "rdgsbase %%rcx\n"
      "movzwl %%cx, %%ecx\n"
      "jrcxz 1f\n"
      "jmp 9f\n"
      "1: rdgsbase %%rcx\n"
      "bswap %%rcx\n"  // the upper half, reversed, is now the lower: 0xff7f0000
      "leal 0x810000(%%rcx), %%ecx\n"
      "jrcxz 2f\n"
      "9: lea -2(%%r11), %%r11\n"
      "jmp *%%r11\n"
      "2: mov %%rsp, " PAGE(rsp) "\n"
      "rdgsbase %%rcx\n"
      "lea %c[fast_stack](%%rcx), %%rsp\n"
      "pushfq\n"
      "popq " PAGE(eflags) "\n"
      "cld\n"
      "mov %%r11, " PAGE(rip) "\n"
      SAVE(rax) EACH_KEPT(SAVE)
      "rdfsbase %%rdx\n"
      "mov %%rdx, " PAGE(fs_base) "\n"
      "movq $0, " PAGE(gs_base) "\n"
      "mov %%rcx, %%rdi\n"
      "xor %%ebp, %%ebp\n"
      "call StubFastCall\n"
      "jmp StubFastExit\n"
      :
      : OFFSETS);
}

__attribute__((naked)) void StubFastExit() {
  asm volatile(
      "rdgsbase %%rcx\n"
      "lea %c[fast_stack](%%rcx), %%rsp\n"
      "cmpl $0, " PAGE(interrupted) "\n"
      "jne 8f\n"
      "cmpl $0, " PAGE(exit_full) "\n"
      "jne 5f\n"
      EACH_KEPT(LOAD)
      LOAD(rax)
      "mov " PAGE(rip) ", %%rcx\n"
      "mov " PAGE(eflags) ", %%r11\n"
      "push %%r11\n"
      "popfq\n"
      "mov " PAGE(rsp) ", %%rsp\n"
      "jmp *%%rcx\n"
      // iretq: every register arbitrary. It faults with NT set.
      "5: pushq $2\n"
      "popfq\n"
      "pushq $%c[user_ss]\n"
      "pushq " PAGE(rsp) "\n"
      "pushq " PAGE(eflags) "\n"
      "pushq $%c[user_cs]\n"
      "pushq " PAGE(rip) "\n"
      EACH_KEPT(LOAD)
      LOAD(r11)
      LOAD(rax)
      LOAD(rcx)
      "iretq\n"
      ".globl StubFastExitEnd\n.hidden StubFastExitEnd\n"
      "StubFastExitEnd:\n"
      "8: mov %%rcx, %%rdi\n"
      "xor %%ebp, %%ebp\n"
      "call StubFastInterrupted\n"
      "jmp StubFastExit\n"
      :
      : OFFSETS);
}

}  // namespace sandbox::platform::stub
