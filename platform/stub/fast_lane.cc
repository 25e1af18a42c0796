// The fast lane: a call whose site was rewritten comes here without a trap, and is answered on the
// spot, handed to a sentry thread that watches the page, or rung in.
//
// Entered in the middle of guest code, at any moment: nothing may be touched but rax, rcx and r11
// (which the instruction that stands here clobbers as well), neither the guest's stack nor its red
// zone, and not even the flags until they are safe. Signals are not masked; see StubHandler for the
// one that may come.
#include <cstddef>

#include "platform/stub/call_data.h"
#include "platform/stub/frame.h"
#include "platform/stub/stub_syscall.h"

namespace sandbox::platform::stub {
namespace {

constexpr uint32_t kSysGetpid32 = 39, kSysGetuid = 102, kSysGetgid = 104, kSysGeteuid = 107, kSysGetegid = 108,
                   kSysGettid = 186;

// What the kernel lets sigreturn set in the flags (arch/x86/kernel/signal_64.c), and what it always
// sets.
constexpr uint64_t kUserFlags = 0x50dd5, kFixedFlags = 0x202;

// Local lane: true with the result in place when no authority is needed to answer.
STUB_INLINE bool AnswerLocally(ThreadPage* page) {
  arch::Registers& r = page->regs;
  const LocalAnswers& local = page->local;
  const uint32_t nr = static_cast<uint32_t>(r.rax);
  if (__atomic_load_n(&local.valid, __ATOMIC_RELAXED) == 0) return false;
  if (nr == kSysGetpid32) {
    r.rax = static_cast<int64_t>(local.pid);
  } else if (nr == kSysGettid) {
    r.rax = static_cast<int64_t>(local.tid);
  } else if (nr == kSysGetuid) {
    r.rax = local.uid;
  } else if (nr == kSysGeteuid) {
    r.rax = local.euid;
  } else if (nr == kSysGetgid) {
    r.rax = local.gid;
  } else if (nr == kSysGetegid) {
    r.rax = local.egid;
  } else if (nr == kSysSchedYield) {
    r.rax = Call3(kSysSchedYield, 0);
  } else {
    return false;
  }
  return true;
}

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

// Prepares StubFastExit after the answer was carried out.
STUB_INLINE void TakeResume(ThreadPage* page) {
  arch::Registers& r = page->regs;
  if (page->resume != Resume::kRegisters) {
    r.rax = page->return_value;
    return;
  }
  // The sentry sends such only to a thread with a signal frame.
  if (r.rip >> 47 != 0 || r.fs_base >> 47 != 0 || r.gs_base != 0) Call3(kSysExitGroup, 1);
  uint64_t fs_base;
  asm volatile("rdfsbase %0" : "=r"(fs_base));
  if (fs_base != r.fs_base) asm volatile("wrfsbase %0" : : "r"(r.fs_base));
  r.eflags = (r.eflags & kUserFlags) | kFixedFlags;
  page->exit_full = 1;
}

}  // namespace

void StubFastCall(ThreadPage* page) {
  page->frame = 0;
  page->exit_full = 0;
  if (AnswerLocally(page)) return;
  FillRequest(page);
  TakeInputs(page);
  Door door = Door::kOpen;
  long how = static_cast<long>(Answer::kWait);
  if (__atomic_load_n(&page->request.state, __ATOMIC_RELAXED) != Door::kOpen ||
      !__atomic_compare_exchange_n(&page->request.state, &door, Door::kPosted, false, __ATOMIC_SEQ_CST,
                                   __ATOMIC_RELAXED)) {
    how = Ring(Bell::kFast);
  }
  CarryOutAnswers(page, 0, how);
  TakeResume(page);
}

void StubFastInterrupted(ThreadPage* page) {
  arch::Registers& r = page->regs;
  if (!page->exit_full) {
    r.rcx = r.rip;
    r.r11 = r.eflags;
  }
  r.orig_rax = arch::kNoSyscall;
  page->frame = 0;
  CarryOutAnswers(page, 0, Ring(Bell::kInterrupt));
  TakeResume(page);
}

#define PAGE(member) "%%gs:%c[" #member "]"
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
      "mov %%rax, " PAGE(rax) "\n"
      "mov %%rdi, " PAGE(rdi) "\n"
      "mov %%rsi, " PAGE(rsi) "\n"
      "mov %%rdx, " PAGE(rdx) "\n"
      "mov %%r10, " PAGE(r10) "\n"
      "mov %%r8, " PAGE(r8) "\n"
      "mov %%r9, " PAGE(r9) "\n"
      "mov %%rbx, " PAGE(rbx) "\n"
      "mov %%rbp, " PAGE(rbp) "\n"
      "mov %%r12, " PAGE(r12) "\n"
      "mov %%r13, " PAGE(r13) "\n"
      "mov %%r14, " PAGE(r14) "\n"
      "mov %%r15, " PAGE(r15) "\n"
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
      "mov " PAGE(rbx) ", %%rbx\n"
      "mov " PAGE(rbp) ", %%rbp\n"
      "mov " PAGE(r12) ", %%r12\n"
      "mov " PAGE(r13) ", %%r13\n"
      "mov " PAGE(r14) ", %%r14\n"
      "mov " PAGE(r15) ", %%r15\n"
      "mov " PAGE(rdi) ", %%rdi\n"
      "mov " PAGE(rsi) ", %%rsi\n"
      "mov " PAGE(rdx) ", %%rdx\n"
      "mov " PAGE(r10) ", %%r10\n"
      "mov " PAGE(r8) ", %%r8\n"
      "mov " PAGE(r9) ", %%r9\n"
      "mov " PAGE(rax) ", %%rax\n"
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
      "mov " PAGE(rbx) ", %%rbx\n"
      "mov " PAGE(rbp) ", %%rbp\n"
      "mov " PAGE(r12) ", %%r12\n"
      "mov " PAGE(r13) ", %%r13\n"
      "mov " PAGE(r14) ", %%r14\n"
      "mov " PAGE(r15) ", %%r15\n"
      "mov " PAGE(rdi) ", %%rdi\n"
      "mov " PAGE(rsi) ", %%rsi\n"
      "mov " PAGE(rdx) ", %%rdx\n"
      "mov " PAGE(r8) ", %%r8\n"
      "mov " PAGE(r9) ", %%r9\n"
      "mov " PAGE(r10) ", %%r10\n"
      "mov " PAGE(r11) ", %%r11\n"
      "mov " PAGE(rax) ", %%rax\n"
      "mov " PAGE(rcx) ", %%rcx\n"
      "iretq\n"
      ".globl StubFastExitEnd\n.hidden StubFastExitEnd\n"
      "StubFastExitEnd:\n"
      "8: movl $0, " PAGE(interrupted) "\n"
      "mov %%rcx, %%rdi\n"
      "xor %%ebp, %%ebp\n"
      "call StubFastInterrupted\n"
      "jmp StubFastExit\n"
      :
      : OFFSETS);
}

}  // namespace sandbox::platform::stub
