// Rules of stub code. It runs inside the guest's process, in a signal handler, at an address the linker did not
// choose, with no C library, no stack protector, no vector registers and no data but its slot. Everything it needs
// lies in the section `stub_text`, which the zygote copies to layout.h's address: no string literals, no static
// variables, no switch tables (-fno-jump-tables), no calls to anything outside.
//
// Nothing here is trusted by the sentry: a guest may jump to any of these instructions.
#pragma once

#include "platform/stub/layout.h"
#include "platform/stub/thread_page.h"

#define STUB_TEXT __attribute__((section("stub_text"), used, visibility("hidden")))

namespace sandbox::platform::stub {

// Signal handler of every signal the stub uses (sa_sigaction, SA_ONSTACK, all signals masked but SIGSEGV and SIGBUS).
extern "C" STUB_TEXT void StubHandler(int signo, void* info, void* ucontext);
// SA_RESTORER; never reached, since handlers leave by their own sigreturn.
extern "C" STUB_TEXT void StubRestorer();
// First code of the zygote, running inside a block built by the sentry (zygote_child.cc): unmaps everything else,
// moves code and configuration to the region, and continues there.
extern "C" STUB_TEXT [[noreturn]] void StubRelocate(char* block, long socket);
// Zygote: forks pool stubs for whoever writes to `socket`. Entered on the initial stack of slot 0.
extern "C" STUB_TEXT [[noreturn]] void StubZygoteMain(char* block, long socket);

// Carries out answers of the sentry until one resumes the guest. `how` is what the doorbell returned.
STUB_TEXT [[noreturn]] void ServeAnswers(ThreadPage* page, uint64_t frame, long how);
// Runs the page's ops; false after storing failed_index and failed_errno.
STUB_TEXT bool RunOps(ThreadPage* page);
// Carries out Command::kClone. Returns the child's tid or -errno; the child never returns.
STUB_TEXT long RunClone(ThreadPage* page, uint64_t frame);
extern "C" STUB_TEXT [[noreturn]] void StubChildMain(SlotPrivate* slot);
// Carries out Command::kCompareExchange.
extern "C" STUB_TEXT long StubCompareExchange(uint64_t address, uint32_t expected, uint32_t desired);
// The one instruction of it that may fault, and where it continues then.
extern "C" STUB_TEXT void StubCompareExchangeInsn();
extern "C" STUB_TEXT void StubCompareExchangeFixup();
// A pool stub stops here (ud2) to get a signal frame to start from.
extern "C" STUB_TEXT void StubHelloInsn();

// First and last byte of the section, as the linker placed it.
extern "C" {
extern const char __start_stub_text[] __attribute__((visibility("hidden")));
extern const char __stop_stub_text[] __attribute__((visibility("hidden")));
}

}  // namespace sandbox::platform::stub
