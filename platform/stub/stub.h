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
extern "C" [[noreturn]] STUB_TEXT void StubRelocate(char* block);
// Zygote: serves the requests of zygote_request.h. Entered on the initial stack of slot 0.
extern "C" [[noreturn]] STUB_TEXT void StubZygoteMain(char* block);

// Carries out answers of the sentry until one resumes the guest. `how` is what the doorbell
// returned; `frame` the trap's struct ucontext, 0 in the fast lane. The caller does what
// `page->resume` says.
STUB_TEXT void CarryOutAnswers(ThreadPage* page, uint64_t frame, long how);
// The same from a signal handler, with the return to the guest.
[[noreturn]] STUB_TEXT void ServeAnswers(ThreadPage* page, uint64_t frame, long how);

// The fast lane (fast_lane.cc). Trampolines of rewritten call sites jump here: call number in rax,
// r11 = the address where the guest goes on, two bytes before which there is a system call
// instruction that does the same the slow way.
extern "C" STUB_TEXT void StubFastEntry();
// From the registers' safe-keeping in the page to the answer's; returns when the guest may go on.
extern "C" STUB_TEXT void StubFastCall(ThreadPage* page);
// The guest's registers are complete in the page, and `interrupted` was set before they could be loaded.
extern "C" STUB_TEXT void StubFastInterrupted(ThreadPage* page);
// Prepares StubFastExit after the answer was carried out.
STUB_TEXT void TakeResume(ThreadPage* page);
// Leaves to the guest. A control signal inside [StubFastExit, StubFastExitEnd) restarts it at the
// first instruction, which looks for interrupts.
extern "C" STUB_TEXT void StubFastExit();
extern "C" STUB_TEXT void StubFastExitEnd();
// Raises SIGILL, for Command::kMakeFrame.
extern "C" STUB_TEXT void StubFrameInsn();
// Runs the page's ops; false after storing failed_index and failed_errno.
STUB_TEXT bool RunOps(ThreadPage* page);
// Carries out Command::kClone. Returns the child's tid or -errno; the child never returns.
STUB_TEXT long RunClone(ThreadPage* page, uint64_t frame);
extern "C" [[noreturn]] STUB_TEXT void StubChildMain(SlotPrivate* slot);
// Carries out the page's `push`; false when the guest's stack does not take it.
STUB_TEXT bool PushSignalFrame(ThreadPage* page);
// What a fresh stub does with its first answer; `files` are those that came with it.
[[noreturn]] STUB_TEXT void StartStub(ThreadPage* page, const int32_t* files);
// Where there is no fast lane to start by, a fresh stub gets a signal frame here (ud2).
extern "C" STUB_TEXT void StubStartInsn();

// First and last byte of the section, as the linker placed it.
extern "C" {
extern const char __start_stub_text[] __attribute__((visibility("hidden")));
extern const char __stop_stub_text[] __attribute__((visibility("hidden")));
}

// Address at which a function of the section runs in stubs.
template <typename F>
uint64_t PlacedAddress(F* function) {
  return kTextStart + (reinterpret_cast<uint64_t>(function) - reinterpret_cast<uint64_t>(__start_stub_text));
}

}  // namespace sandbox::platform::stub
