#include "platform/systrap/segment_bases.h"

#include <sys/auxv.h>
#include <ucontext.h>

#include <csignal>

#include "base/check.h"

namespace sandbox::platform::systrap {
namespace {

constexpr unsigned long kHwcap2Fsgsbase = 1 << 1;
// rdgsbase %rax
constexpr int kInstructionLength = 5;

void SkipInstruction(int, siginfo_t*, void* context) {
  auto* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  registers[REG_RIP] += kInstructionLength;
  registers[REG_RCX] = 0;
}

bool Executes() {
  struct sigaction action = {}, before;
  action.sa_sigaction = SkipInstruction;
  action.sa_flags = SA_SIGINFO;
  CHECK(::sigaction(SIGILL, &action, &before) == 0);
  unsigned long base, executed = 1;
  asm volatile("rdgsbase %0" : "=a"(base), "+c"(executed));
  CHECK(::sigaction(SIGILL, &before, nullptr) == 0);
  return executed != 0;
}

}  // namespace

SegmentBases UsableSegmentBases() {
  static const SegmentBases usable = [] {
    const bool announced = (::getauxval(AT_HWCAP2) & kHwcap2Fsgsbase) != 0;
    return SegmentBases{.readable = announced || Executes(), .writable = announced};
  }();
  return usable;
}

}  // namespace sandbox::platform::systrap
