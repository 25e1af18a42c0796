// Calls that the stub answers in the sentry's place, because the answer needs no authority: a stub can only lie to its
// own process. The sentry revokes all of it per thread (LocalAnswers::valid).
#pragma once

#include "platform/stub/frame.h"
#include "platform/stub/stub.h"

namespace sandbox::platform::stub {

enum class Local {
  kAnswered,   // the result is in place
  kAsk,        // the sentry must answer
  kAskWaited,  // so it must, after the thread has waited since `slept_since`
};
// A call of the fast lane.
STUB_TEXT Local AnswerLocally(ThreadPage* page);
// One that trapped, of those that programs and threads start with: their sites are seldom such as can be rewritten, and
// a trap costs less than a trip. The registers are in the page, where the result goes too. False: the sentry must
// answer.
STUB_TEXT bool AnswerTrapped(ThreadPage* page);
// rt_sigreturn that trapped into the handler which runs with the host's frame `trap`. Returns when the sentry must do
// it.
STUB_TEXT void SignalReturnLocally(ThreadPage* page, const UContext* trap);

// Makes `call` on the host. -EINTR when it was interrupted, or was not made because the thread is to come to the
// sentry.
STUB_TEXT long RunHostCall(ThreadPage* page, const HostCall& call);
// Command::kCall; `frame` as in CarryOutAnswers.
STUB_TEXT long RunOrderedCall(ThreadPage* page, uint64_t frame);

// A host call that may sleep, with `*interrupted` looked at so late that no control signal can be missed: one that
// comes inside [StubSleepBegin, StubSleepEnd) goes on at StubSleepInterrupted.
extern "C" {
STUB_TEXT long StubSleepingCall(const HostCall* call, const uint32_t* interrupted);
STUB_TEXT void StubSleepBegin();
STUB_TEXT void StubSleepEnd();
STUB_TEXT void StubSleepInterrupted();
}

}  // namespace sandbox::platform::stub
