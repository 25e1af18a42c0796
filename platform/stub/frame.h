// The kernel's signal frame on x86-64 (asm/sigcontext.h, asm/ucontext.h), as stub code reads and writes it.
#pragma once

#include <cstdint>

#include "platform/stub/stub_syscall.h"

namespace sandbox::platform::stub {

struct SigContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  uint64_t fpstate;
  uint64_t reserved[8];
};

struct UContext {
  uint64_t flags, link;
  uint64_t stack_sp;
  int32_t stack_flags, pad;
  uint64_t stack_size;
  SigContext mcontext;
  uint64_t sigmask;
};

// struct siginfo, the members the stub looks at.
struct SigInfo {
  int32_t signo, err, code, pad;
  uint64_t address;  // si_addr, or si_call_addr for SIGSYS
  int32_t syscall;   // SIGSYS: the call number
  uint32_t arch;     // SIGSYS: AUDIT_ARCH_*
};

// Loads what `uc` holds, for good.
STUB_INLINE void __attribute__((noreturn)) ReturnFromSignal(UContext* uc) {
  asm volatile(
      "mov %0, %%rsp\n"
      "mov $15, %%eax\n"  // rt_sigreturn
      "syscall\n"
      "ud2\n"
      :
      : "r"(uc)
      : "memory");
  __builtin_unreachable();
}

}  // namespace sandbox::platform::stub
