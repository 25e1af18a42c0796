// What platforms do about signals and waits in the guest's place: frames of handlers, signal masks, host calls.
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstddef>

#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

class Signals : public PlatformTest {};

constexpr uint64_t kHandlerAddr = kCodeAddr + kPageSize;
constexpr size_t kXmm0Offset = 160;  // in the FXSAVE area
constexpr uint64_t kPattern = 0x1122334455667788;

// Calls with a pattern in xmm0; then reports what is left there.
GUEST_CODE(call_with_vector, R"(
  mov $0x1122334455667788, %rax
  movq %rax, %xmm0
)" CALL_HOOK R"(
  movq %xmm0, %rdi
)" CALL_REPORT CALL_EXIT);

// Reports its argument and what it finds in xmm0, and calls.
GUEST_CODE(handler, CALL_REPORT R"(
  movq %xmm0, %rdi
)" CALL_REPORT CALL_SHORT CALL_EXIT);

arch::BuiltFrame FrameFor(Thread& thread, uint64_t stack, arch::FrameInput* input) {
  input->handler = kHandlerAddr;
  input->signo = 7;
  arch::Registers regs = thread.regs();
  regs.rsp = stack;
  return *arch::BuildFrame(regs, thread.FpStateSize(), *input);
}

TEST_P(Signals, HandlerStartsOnItsFrame) {
  Task task;
  arch::BuiltFrame built;
  uint64_t saved = 0, magic = 0, restored = 0;
  task.hook = [&](Task&, Thread& thread, const Trap& trap) {
    if (trap.nr == kCallShort) {
      saved = ReadWord(thread, built.fp_address + kXmm0Offset);
      magic = ReadWord(thread, built.fp_address + thread.FpStateSize() - 8) >> 32;
      restored = ReadWord(thread, built.address + offsetof(arch::SignalFrame, user.context.rsp));
      return;
    }
    arch::FrameInput input;
    built = FrameFor(thread, thread.regs().rsp, &input);
    ASSERT_TRUE(thread.PushFrame(built).ok());
    arch::EnterHandler(thread.regs(), built, input);
  };
  auto thread = NewProcess(task, call_with_vector);
  ASSERT_NE(thread, nullptr);
  AddCode(*thread, 1, handler);
  thread->regs().rsp = kStackTop - 64;
  task.Run(std::move(thread));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), (std::vector<uint64_t>{7, 0}));
  EXPECT_EQ(saved, kPattern);
  EXPECT_EQ(magic, 0x46505845u);
  EXPECT_EQ(restored, kStackTop - 64);
}

// Two at once: the second saves the state that the first handler would start with.
TEST_P(Signals, FramesStack) {
  Task task;
  arch::BuiltFrame first, second;
  task.hook = [&](Task&, Thread& thread, const Trap& trap) {
    if (trap.nr == kCallShort) {
      EXPECT_EQ(ReadWord(thread, first.fp_address + kXmm0Offset), kPattern);
      EXPECT_EQ(ReadWord(thread, second.fp_address + 512) & 2, 0u);  // SSE state: initial
      EXPECT_EQ(ReadWord(thread, second.address + offsetof(arch::SignalFrame, user.context.rip)), kHandlerAddr);
      return;
    }
    for (arch::BuiltFrame* built : {&first, &second}) {
      arch::FrameInput input;
      *built = FrameFor(thread, thread.regs().rsp, &input);
      ASSERT_TRUE(thread.PushFrame(*built).ok());
      arch::EnterHandler(thread.regs(), *built, input);
    }
  };
  auto thread = NewProcess(task, call_with_vector);
  ASSERT_NE(thread, nullptr);
  AddCode(*thread, 1, handler);
  thread->regs().rsp = kStackTop - 64;
  task.Run(std::move(thread));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), (std::vector<uint64_t>{7, 0}));
}

TEST_P(Signals, FrameWithoutAStackIsReported) {
  Task task;
  bool at_once = false, reported = false;
  task.hook = [&](Task& self, Thread& thread, const Trap& trap) {
    if (trap.kind == Trap::Kind::kFrameFailed) {
      reported = true;
      EXPECT_EQ(trap.failed_frame.frame.user.context.rsp, kFreeAddr);
      self.Exit();
      return;
    }
    arch::FrameInput input;
    at_once = !thread.PushFrame(FrameFor(thread, kFreeAddr, &input)).ok();
    thread.regs().rip = kHandlerAddr;
    if (at_once) self.Exit();
  };
  auto thread = NewProcess(task, call_with_vector);
  ASSERT_NE(thread, nullptr);
  AddCode(*thread, 1, handler);
  task.Run(std::move(thread));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_NE(at_once, reported);
  EXPECT_TRUE(task.reports().empty());
}

GUEST_CODE(one_hook, CALL_HOOK R"(
  mov %rax, %rdi
)" CALL_REPORT CALL_EXIT);

HostCall Wait(std::optional<int64_t> deadline_ns = {}) {
  return {.nr = SYS_futex,
          .args = {kDataAddr, FUTEX_WAIT_BITSET, 0, 0, 0, FUTEX_BITSET_MATCH_ANY},
          .deadline_ns = deadline_ns};
}

TEST_P(Signals, HostCalls) {
  Task task;
  bool possible = true;
  task.hook = [&](Task&, Thread& thread, const Trap&) {
    possible = thread.CanMakeCalls();
    if (!possible) return thread.SetReturn(0);
    const auto nobody = thread.RunCall({.nr = SYS_futex, .args = {kDataAddr, FUTEX_WAKE, 1, 0, 0, 0}});
    EXPECT_TRUE(nobody.ok() && *nobody == 0);
    EXPECT_TRUE(thread.RunCall({.nr = SYS_futex, .args = {kFreeAddr + 1, FUTEX_WAKE, 1, 0, 0, 0}}).Is(EINVAL));
    // Interrupted, with and without a deadline; over by itself.
    ASSERT_TRUE(thread.BeginCall(Wait()).ok());
    EXPECT_TRUE(thread.EndCall().Is(EINTR));
    ASSERT_TRUE(thread.BeginCall(Wait(int64_t{1} << 60)).ok());
    EXPECT_TRUE(thread.EndCall().Is(EINTR));
    ASSERT_TRUE(thread.BeginCall(Wait(1)).ok());
    thread.BeginBlock();  // somebody else has to hear of its end
    while (!thread.CallEnded()) sched_yield();
    thread.EndBlock();
    EXPECT_TRUE(thread.EndCall().Is(ETIMEDOUT));
    thread.SetReturn(4711);
  };
  task.Run(NewProcess(task, one_hook));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), std::vector<uint64_t>{possible ? 4711u : 0u});
}

// The same for a call that was no more than a notification.
GUEST_CODE(one_short, CALL_SHORT R"(
  mov %rax, %rdi
)" CALL_REPORT CALL_EXIT);

TEST_P(Signals, HostCallsFromAShortCall) {
  Task task;
  bool possible = true;
  task.hook = [&](Task&, Thread& thread, const Trap&) {
    possible = thread.CanMakeCalls();
    if (!possible) return thread.SetReturn(0);
    ASSERT_TRUE(thread.BeginCall(Wait()).ok());
    EXPECT_TRUE(thread.EndCall().Is(EINTR));
    thread.SetReturn(4711);
  };
  task.Run(NewProcess(task, one_short));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), std::vector<uint64_t>{possible ? 4711u : 0u});
}

// rt_sigprocmask in a loop, blocking and unblocking everything.
GUEST_CODE(change_mask, CALL_HOOK R"(
1: mov %r12, %rdi
  mov $0x600000, %rsi
  xor %edx, %edx
  mov $8, %r10d
)" CALL(14) R"(
  xor $1, %r12
  addq $1, 0x600010
  jmp 1b
)");

// A platform that changes masks by itself shows them, and asks as soon as something is pending.
TEST_P(Signals, MaskChangesAreSeenAndAskedFor) {
  Task task;
  std::atomic<uint64_t> asked = 0;
  std::atomic<bool> stop = false;
  task.on_any = [&](Task& self, Thread& thread, const Trap& trap) {
    if (trap.kind == Trap::Kind::kInterrupt) {
      // One may come by itself: a change of the mask that met the first pending signal.
      if (stop) self.Exit();
      return;
    }
    if (trap.nr == SYS_rt_sigprocmask) {
      ++asked;
    } else {
      thread.SetLocalIdentity(LocalIdentity{.pid = 1, .tid = 1});
    }
    thread.SetReturn(0);
  };
  auto thread = NewProcess(task, change_mask);
  ASSERT_NE(thread, nullptr);
  thread->regs().r12 = 0;
  WriteWord(*thread, kDataAddr, 1 << 9);
  task.Run(std::move(thread));
  while (ReadWord(task.thread(), kDataAddr + 0x10) < 1000) sched_yield();
  const bool local = asked == 0;
  if (local) {
    bool blocked = false, open = false;
    while (!blocked || !open) {
      const uint64_t mask = task.thread().SignalMask().value();
      ASSERT_TRUE(mask == 0 || mask == 1 << 9) << mask;
      (mask == 0 ? open : blocked) = true;
    }
  }
  task.thread().SetSignalsPending(true);
  const uint64_t before = asked;
  while (asked < before + 100) sched_yield();
  stop = true;
  task.thread().Interrupt();
  ASSERT_TRUE(task.WaitExit());
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, Signals, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
