#include "platform/arch/sigframe.h"

#include <cstddef>
#include <cstring>

namespace sandbox::arch {
namespace {

constexpr uint64_t kRedZone = 128;
constexpr uint64_t kUcFpXstate = 1, kUcSigcontextSs = 2, kUcStrictRestoreSs = 4;

// EFLAGS bits rt_sigreturn may set (FIX_EFLAGS): AC, OF, DF, TF, SF, ZF, AF, PF, CF, RF.
constexpr uint64_t kRestorableFlags = 0x40000 | 0x800 | 0x400 | 0x100 | 0x80 | 0x40 | 0x10 | 0x4 | 0x1 | 0x10000;
constexpr uint64_t kFlagInterrupts = 0x200, kFlagReserved = 0x2;
constexpr uint64_t kFlagTrap = 0x100, kFlagDirection = 0x400, kFlagResume = 0x10000;

constexpr uint32_t kFpMagic1 = 0x46505853;
constexpr size_t kSoftwareReserved = 464;  // of the FXSAVE area: magic1, extended_size, xfeatures, xstate_size

SignalContext SaveRegisters(const Registers& r) {
  SignalContext c = {};
  c.r8 = r.r8, c.r9 = r.r9, c.r10 = r.r10, c.r11 = r.r11;
  c.r12 = r.r12, c.r13 = r.r13, c.r14 = r.r14, c.r15 = r.r15;
  c.rdi = r.rdi, c.rsi = r.rsi, c.rbp = r.rbp, c.rbx = r.rbx;
  c.rdx = r.rdx, c.rax = r.rax, c.rcx = r.rcx, c.rsp = r.rsp;
  c.rip = r.rip, c.eflags = r.eflags;
  c.cs = static_cast<uint16_t>(r.cs), c.ss = static_cast<uint16_t>(r.ss);
  return c;
}

}  // namespace

std::optional<BuiltFrame> BuildFrame(const Registers& regs, size_t fp_size, const FrameInput& input) {
  const uint64_t top = input.switch_stack ? input.stack.sp + input.stack.size : regs.rsp - kRedZone;
  const uint64_t need = fp_size + 64 + sizeof(SignalFrame) + 32;
  if (top < need) return std::nullopt;
  BuiltFrame built;
  uint64_t sp = top;
  if (fp_size > 0) {
    sp = (sp - fp_size) & ~uint64_t{63};  // XSAVE needs it
    built.fp_address = sp;
  }
  // As after a call: 16-byte aligned but for the return address.
  sp = ((sp - sizeof(SignalFrame)) & ~uint64_t{15}) - 8;
  built.address = sp;
  SignalFrame& f = built.frame;
  f.restorer = input.restorer;
  f.user.flags = (fp_size > 0 ? kUcFpXstate : 0) | kUcSigcontextSs | kUcStrictRestoreSs;
  f.user.stack = input.stack;
  f.user.context = SaveRegisters(regs);
  f.user.context.trapno = input.trapno;
  f.user.context.err = input.error;
  f.user.context.cr2 = input.fault_address;
  f.user.context.oldmask = input.mask;
  f.user.context.fpstate = built.fp_address;
  f.user.mask = input.mask;
  f.info = input.info;
  return built;
}

void EnterHandler(Registers& regs, const BuiltFrame& built, const FrameInput& input) {
  regs.rdi = input.signo;
  regs.rsi = built.address + offsetof(SignalFrame, info);
  regs.rdx = built.address + offsetof(SignalFrame, user);
  regs.rax = 0;
  regs.rsp = built.address;
  regs.rip = input.handler;
  regs.eflags &= ~(kFlagDirection | kFlagResume | kFlagTrap);
  regs.cs = kUserCs;
  regs.ss = kUserSs;
  regs.orig_rax = ~uint64_t{0};
}

void RestoreRegisters(Registers& r, const SignalContext& c) {
  r.r8 = c.r8, r.r9 = c.r9, r.r10 = c.r10, r.r11 = c.r11;
  r.r12 = c.r12, r.r13 = c.r13, r.r14 = c.r14, r.r15 = c.r15;
  r.rdi = c.rdi, r.rsi = c.rsi, r.rbp = c.rbp, r.rbx = c.rbx;
  r.rdx = c.rdx, r.rax = c.rax, r.rcx = c.rcx, r.rsp = c.rsp;
  r.rip = c.rip;
  r.eflags = (r.eflags & ~kRestorableFlags) | (c.eflags & kRestorableFlags) | kFlagInterrupts | kFlagReserved;
  r.cs = kUserCs;
  r.ss = kUserSs;
  r.orig_rax = ~uint64_t{0};
}

size_t SavedFpSize(std::span<const uint8_t> legacy) {
  if (legacy.size() < kLegacyFpSize) return 0;
  uint32_t magic, extended_size;
  std::memcpy(&magic, legacy.data() + kSoftwareReserved, sizeof(magic));
  std::memcpy(&extended_size, legacy.data() + kSoftwareReserved + 4, sizeof(extended_size));
  if (magic != kFpMagic1 || extended_size < kLegacyFpSize || extended_size > kMaxFpSize) return kLegacyFpSize;
  return extended_size;
}

}  // namespace sandbox::arch
