// asm/sigcontext.h and asm/ucontext.h of x86-64.
#pragma once

#include <array>
#include <cstdint>

#include "abi/signal.h"

namespace sandbox::abi {

struct SigContext {  // struct sigcontext_64
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  uint64_t fpstate;
  uint64_t reserved[8];
};

struct UContext {  // struct ucontext
  uint64_t flags;
  uint64_t link;
  SigStack stack;
  SigContext context;
  SignalSet mask;
};

struct RtSigFrame {   // struct rt_sigframe of arch/x86/include/asm/sigframe.h; the kernel's headers for users lack it
  uint64_t restorer;  // the handler's return address
  UContext user;
  std::array<uint8_t, 128> info;
};
static_assert(sizeof(RtSigFrame) == 440);

}  // namespace sandbox::abi
