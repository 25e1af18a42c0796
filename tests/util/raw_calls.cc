#include "tests/util/raw_calls.h"

#include <sys/syscall.h>

asm(R"(
  .globl RawLoad, RawLoadJump, RawTail, RawTailJump, RawRet, RawRetJump, RawRegisters
  .text
  .p2align 4
RawPrologue:
  nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop
  nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop
  nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop
RawLoad:
  mov $110, %eax
RawLoadSyscall:
  syscall
  ret
RawLoadJump:
  mov %edi, %eax
  jmp RawLoadSyscall

  .p2align 4
RawTail:
  mov %rdi, %rax
  mov %rsi, %rdi
  mov %rdx, %rsi
  mov %rcx, %rdx
  mov %r8, %r10
  mov %r9, %r8
  syscall
RawTailCheck:
  cmp $-4096, %rax
  ja 1f
  ret
1: neg %rax
  bts $62, %rax
  ret
RawTailJump:
  mov $-5, %rax
  jmp RawTailCheck

  .p2align 4
RawRet:
  mov %rdi, %rax
  mov %rsi, %rdi
  mov %rdx, %rsi
  mov %rcx, %rdx
  mov %r8, %r10
  mov %r9, %r8
  nop
  syscall
RawRetRet:
  ret
  .p2align 4
RawRetJump:
  mov $-5, %rax
  jmp RawRetRet

  # Fills the registers, calls getppid with known flags and counts what changed (bit by bit; %rcx and %r11 may).
  .p2align 4
RawRegisters:
  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
  mov $0x1111111111111111, %rbx
  mov $0x2222222222222222, %rbp
  mov $0x3333333333333333, %r12
  mov $0x4444444444444444, %r13
  mov $0x5555555555555555, %r14
  mov $0x6666666666666666, %r15
  mov $0x7777777777777777, %rdi
  mov $0x8888888888888888, %rsi
  mov $0x9999999999999999, %rdx
  mov $0xaaaaaaaaaaaaaaaa, %r8
  mov $0xbbbbbbbbbbbbbbbb, %r9
  mov $0xcccccccccccccccc, %r10
  movq %rdi, %xmm0
  movq $0x4242424242424242, %rcx
  mov %rcx, -8(%rsp)
  mov %rcx, -128(%rsp)
  mov $0xffffffff, %ecx
  add $1, %ecx
  mov $110, %eax
  syscall
  pushfq
  pop %r11
  mov $0, %eax
  mov $0x1111111111111111, %rcx; cmp %rcx, %rbx; setne %al; mov %eax, %ebx
  mov $0x2222222222222222, %rcx; cmp %rcx, %rbp; setne %al; or %eax, %ebx
  mov $0x3333333333333333, %rcx; cmp %rcx, %r12; setne %al; or %eax, %ebx
  mov $0x4444444444444444, %rcx; cmp %rcx, %r13; setne %al; or %eax, %ebx
  mov $0x5555555555555555, %rcx; cmp %rcx, %r14; setne %al; or %eax, %ebx
  mov $0x6666666666666666, %rcx; cmp %rcx, %r15; setne %al; or %eax, %ebx
  mov $0x7777777777777777, %rcx; cmp %rcx, %rdi; setne %al; or %eax, %ebx
  mov $0x8888888888888888, %rcx; cmp %rcx, %rsi; setne %al; or %eax, %ebx
  mov $0x9999999999999999, %rcx; cmp %rcx, %rdx; setne %al; or %eax, %ebx
  mov $0xaaaaaaaaaaaaaaaa, %rcx; cmp %rcx, %r8; setne %al; or %eax, %ebx
  mov $0xbbbbbbbbbbbbbbbb, %rcx; cmp %rcx, %r9; setne %al; or %eax, %ebx
  mov $0xcccccccccccccccc, %rcx; cmp %rcx, %r10; setne %al; or %eax, %ebx
  movq %xmm0, %r8; mov $0x7777777777777777, %rcx; cmp %rcx, %r8; setne %al; or %eax, %ebx
  mov $0x4242424242424242, %rcx; cmp %rcx, -128(%rsp); setne %al; or %eax, %ebx
  # add $1 to 0xffffffff set CF, PF, AF and ZF.
  and $0x8d5, %r11d; cmp $0x55, %r11d; setne %al; or %eax, %ebx
  mov %ebx, %eax
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
  ret
)");

namespace guest {

void WarmUp() {
  for (int i = 0; i < kWarm; ++i) {
    RawLoad();
    RawTail(SYS_getppid);
    RawRet(SYS_getppid);
  }
}

}  // namespace guest
