// The x86-64 text rewriter. Two kinds of site:
//
//   load   b8 imm32; 0f 05     mov $nr,%eax directly before syscall. The jump replaces the mov; the syscall stays, so
//                              that jumps to it and restarted calls (two bytes back) find it.
//   tail   0f 05; …            syscall with whole instructions behind it of together at least five bytes. The jump
//                              replaces them; they move to the end of the trampoline.
//
// A trampoline loads the address to go on at into %r11 (which the instruction clobbers too) and jumps to the stub's
// entry, whose address is the first word of the zone:
//
//   load:  mov $nr,%eax; lea cont(%rip),%r11; jmp *entry(%rip)
//   tail:  lea cont(%rip),%r11; jmp *entry(%rip); syscall; cont: moved instructions; jmp back
//
// In both, the two bytes before `cont` are a syscall instruction, which the entry falls back on.
//
// A tail site has an instruction boundary inside the jump. The trampoline's place is chosen so that the byte there is
// an opcode that faults; the platform takes the thread to the moved instruction.
#pragma once

#include <cstdint>
#include <memory>

#include "platform/api/text_rewriter.h"

namespace sandbox::platform::systrap {

// `entry`: address of the stub's entry, the same in every process.
std::unique_ptr<TextRewriter> MakeTextRewriter(uint64_t entry);

// Opcodes of one byte that raise #UD in 64-bit mode, whatever follows them.
inline constexpr uint8_t kFaultingOpcodes[] = {0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27,
                                               0x2f, 0x37, 0x3f, 0x60, 0x61, 0xce, 0xd6};

}  // namespace sandbox::platform::systrap
