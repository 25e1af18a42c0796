// The user register file of a guest thread, x86-64. Field order is that of struct user_regs_struct (sys/user.h).
#pragma once

#include <cstdint>

namespace sandbox::arch {

struct Registers {
  uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
  uint64_t rax, rcx, rdx, rsi, rdi;
  uint64_t orig_rax;  // the call number while a system call is being served, else -1
  uint64_t rip, cs, eflags, rsp, ss;
  uint64_t fs_base, gs_base, ds, es, fs, gs;

  // The system call convention, named once so that the kernel does not spell registers.
  uint64_t syscall_nr() const { return orig_rax; }
  uint64_t syscall_arg(int i) const {
    switch (i) {
      case 0:
        return rdi;
      case 1:
        return rsi;
      case 2:
        return rdx;
      case 3:
        return r10;
      case 4:
        return r8;
      default:
        return r9;
    }
  }
  uint64_t return_value() const { return rax; }
  void set_return_value(uint64_t v) { rax = v; }
  uint64_t ip() const { return rip; }
  void set_ip(uint64_t v) { rip = v; }
  uint64_t sp() const { return rsp; }
  void set_sp(uint64_t v) { rsp = v; }
  void set_tls(uint64_t v) { fs_base = v; }
};

// Length of the instruction that enters the kernel; a restarted call resumes this many bytes earlier.
inline constexpr uint64_t kSyscallInsnLength = 2;

// Selectors of 64-bit user code and data.
inline constexpr uint64_t kUserCs = 0x33, kUserSs = 0x2b;

// A thread that is not in a system call carries this in orig_rax.
inline constexpr uint64_t kNoSyscall = ~uint64_t{0};

// EFLAGS.TF: a trap after the next instruction.
inline constexpr uint64_t kTrapFlag = 0x100;

// Makes the thread enter call `nr` again with the arguments it still has.
inline void RestartSyscall(Registers& regs, uint64_t nr) {
  regs.rax = nr;
  regs.rip -= kSyscallInsnLength;
  regs.orig_rax = kNoSyscall;
}

}  // namespace sandbox::arch
