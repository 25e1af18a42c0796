// System call instructions in the surroundings that C libraries and Go give them, for tests of rewritten call sites.
#pragma once

// The patterns of C libraries and of Go. RawLoad: getppid by mov and syscall. RawTail, RawRet: any call (the arguments
// of syscall(2)). RawTailJump and RawRetJump go to the instruction behind the syscall with %rax = -5 and the call not
// made. RawLoadJump goes to the syscall of RawLoad with another number.
extern "C" {
long RawLoad();
long RawLoadJump(long nr);
long RawTail(long nr, ...);
long RawTailJump();
long RawRet(long nr, ...);
long RawRetJump();
int RawRegisters();
}

namespace guest {

// Calls that make a site worth rewriting.
inline constexpr int kWarm = 600;
// As many from each of the sites.
void WarmUp();

}  // namespace guest
