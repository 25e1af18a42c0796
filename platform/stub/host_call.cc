// Futex calls on the host's own queues: guest threads are host threads and their memory is host memory, so waiting and
// waking among them needs nobody else. Which calls those are is the sentry's to say (sentry/kernel/task_futex.cc): a
// word's waiters are all here or all there, never both.
#include <cstddef>

#include "platform/stub/guest_access.h"
#include "platform/stub/local_lane.h"

namespace sandbox::platform::stub {
namespace {

constexpr uint64_t kControlMask = 1ull << (kControlSignal - 1);

}  // namespace

long RunHostCall(ThreadPage* page, const HostCall& call) {
  page->slept_since = CycleCounter();
  __atomic_store_n(&page->asleep_in, call.nr, __ATOMIC_RELAXED);
  const long result = StubSleepingCall(&call, &page->interrupted);
  __atomic_store_n(&page->asleep_in, 0, __ATOMIC_RELAXED);
  return result;
}

long RunOrderedCall(ThreadPage* page, uint64_t frame) {
  HostCall& call = page->call;
  if (call.has_deadline) call.args[3] = reinterpret_cast<uint64_t>(call.deadline);
  // In a handler, which runs with everything masked, only the control signal can end the wait.
  const uint64_t mask = kControlMask;
  const uint64_t at = reinterpret_cast<uint64_t>(&mask);
  if (frame != 0) Call4(kSysRtSigprocmask, /*SIG_UNBLOCK*/ 1, at, 0, sizeof(mask));
  const long result = RunHostCall(page, call);
  if (frame != 0) Call4(kSysRtSigprocmask, /*SIG_BLOCK*/ 0, at, 0, sizeof(mask));
  // Who interrupted it waits for the answer already.
  page->interrupted = 0;
  return result;
}

__attribute__((naked)) long StubSleepingCall(const HostCall*, const uint32_t*) {
  asm volatile(
      "mov %%rsi, %%r11\n"
      "mov %%rdi, %%rcx\n"
      "mov %c[nr](%%rcx), %%eax\n"
      "mov %c[args]+8(%%rcx), %%rsi\n"
      "mov %c[args]+16(%%rcx), %%rdx\n"
      "mov %c[args]+24(%%rcx), %%r10\n"
      "mov %c[args]+32(%%rcx), %%r8\n"
      "mov %c[args]+40(%%rcx), %%r9\n"
      "mov %c[args](%%rcx), %%rdi\n"
      ".globl StubSleepBegin\n.hidden StubSleepBegin\n"
      "StubSleepBegin:\n"
      "cmpl $0, (%%r11)\n"
      "jne StubSleepInterrupted\n"
      "syscall\n"
      ".globl StubSleepEnd\n.hidden StubSleepEnd\n"
      "StubSleepEnd:\n"
      "ret\n"
      ".globl StubSleepInterrupted\n.hidden StubSleepInterrupted\n"
      "StubSleepInterrupted:\n"
      "mov $-4, %%rax\n"  // -EINTR
      "ret\n"
      :
      : [nr] "i"(offsetof(HostCall, nr)), [args] "i"(offsetof(HostCall, args)));
}

}  // namespace sandbox::platform::stub
