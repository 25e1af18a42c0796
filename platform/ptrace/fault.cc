#include "platform/ptrace/fault.h"

#include <signal.h>

namespace sandbox::platform::ptrace {
namespace {

// Exception vectors (Intel SDM vol. 3, 6.15).
enum Vector : uint64_t {
  kDivide = 0,
  kDebug = 1,
  kBreakpoint = 3,
  kInvalidOpcode = 6,
  kProtection = 13,
  kPageFault = 14,
  kX87 = 16,
  kAlignment = 17,
  kSimd = 19
};
// Page fault error code.
enum : uint64_t { kPresent = 1, kWrite = 2, kUser = 4, kFetch = 16 };

// True for an instruction whose memory operand is its destination, as far as the common moves, stores and pushes go.
// Only asked for addresses with nothing mapped, where guest programs hardly ever look at the answer.
bool LooksLikeStore(const uint8_t* code, size_t size) {
  size_t i = 0;
  while (i < size && (code[i] == 0x66 || code[i] == 0xf2 || code[i] == 0xf3 || code[i] == 0xf0 || code[i] == 0x64 ||
                      code[i] == 0x65 || (code[i] & 0xf0) == 0x40)) {
    ++i;
  }
  if (i + 1 >= size) return false;
  const uint8_t op = code[i];
  if (op == 0x0f) {
    const uint8_t second = code[i + 1];
    return second == 0x11 || second == 0x13 || second == 0x17 || second == 0x29 || second == 0x2b || second == 0x7e ||
           second == 0x7f || second == 0xb0 || second == 0xb1 || second == 0xc0 || second == 0xc1 || second == 0xc3 ||
           second == 0xe7 || second == 0xd6;
  }
  if (op < 0x38 && (op & 7) <= 1) return true;  // add, or, adc, sbb, and, sub, xor to memory
  if (op == 0x80 || op == 0x81 || op == 0x83) return (code[i + 1] & 0x38) != 0x38;  // all but cmp
  return op == 0x88 || op == 0x89 || op == 0xc6 || op == 0xc7 || op == 0xa2 || op == 0xa3 || op == 0x86 || op == 0x87 ||
         op == 0xaa || op == 0xab || op == 0xa4 || op == 0xa5 || op == 0xe8 || (op & 0xf8) == 0x50 || op == 0x68 ||
         op == 0x6a;
}

uint64_t PageFaultError(const Fault& fault, const arch::Registers& regs, AddressSpace& memory) {
  uint64_t error = kUser;
  if (fault.code == SEGV_ACCERR) error |= kPresent;
  if (fault.address.value() == regs.rip) return error | kFetch;
  uint8_t byte;
  if (fault.code == SEGV_ACCERR) {
    // Readable, not fetched, and yet it faulted: a write.
    if (memory.Read(fault.address, &byte, 1).ok()) error |= kWrite;
    return error;
  }
  uint8_t code[8] = {};
  const auto got = memory.Read(GuestAddr(regs.rip), code, sizeof(code));
  if (got.ok() && LooksLikeStore(code, *got)) error |= kWrite;
  return error;
}

}  // namespace

void DeriveTrapNumbers(Fault& fault, const arch::Registers& regs, AddressSpace& memory) {
  switch (fault.signo) {
    case SIGSEGV:
    case SIGBUS:
      if (fault.code == SI_KERNEL) {
        if (fault.trapno == 0) fault.trapno = kProtection;
      } else if (fault.signo == SIGBUS && fault.code == BUS_ADRALN) {
        fault.trapno = kAlignment;
      } else {
        fault.trapno = kPageFault;
        fault.error = PageFaultError(fault, regs, memory);
      }
      return;
    case SIGFPE:
      fault.trapno = fault.code == FPE_INTDIV ? kDivide : kSimd;
      return;
    case SIGILL:
      fault.trapno = kInvalidOpcode;
      return;
    case SIGTRAP:
      fault.trapno = fault.code == SI_KERNEL ? kBreakpoint : kDebug;
      return;
  }
}

}  // namespace sandbox::platform::ptrace
