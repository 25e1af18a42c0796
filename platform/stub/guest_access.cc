// The few instructions of stub code that touch guest memory. They may fault on whatever the guest passes; the signal
// handler then continues at StubAccessFixup (see HandleStubSignal), so each of these is a leaf that keeps nothing on
// the stack.
#include "platform/stub/guest_access.h"

namespace sandbox::platform::stub {

asm(".pushsection stub_text,\"ax\",@progbits\n"
    ".globl StubAccessBegin\n.hidden StubAccessBegin\n"
    "StubAccessBegin:\n"
    ".globl StubCompareExchange\n.hidden StubCompareExchange\n"
    "StubCompareExchange:\n"
    "  mov %esi, %eax\n"
    "  lock cmpxchg %edx, (%rdi)\n"
    "  mov %eax, %eax\n"
    "  ret\n"
    ".globl StubCopy\n.hidden StubCopy\n"
    "StubCopy:\n"
    "  mov %rdx, %rcx\n"
    "  rep movsb\n"
    "  xor %eax, %eax\n"
    "  ret\n"
    ".globl StubSaveState\n.hidden StubSaveState\n"
    "StubSaveState:\n"
    "  mov %esi, %eax\n"
    "  mov %rsi, %rdx\n"
    "  shr $32, %rdx\n"
    "  xsave64 (%rdi)\n"
    "  xor %eax, %eax\n"
    "  ret\n"
    ".globl StubAccessEnd\n.hidden StubAccessEnd\n"
    "StubAccessEnd:\n"
    ".globl StubAccessFixup\n.hidden StubAccessFixup\n"
    "StubAccessFixup:\n"
    "  mov $-14, %rax\n"  // -EFAULT
    "  ret\n"
    ".popsection\n");

}  // namespace sandbox::platform::stub
