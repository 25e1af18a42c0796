// Interrupts: of spinning code, before, during and after calls, and never lost.
#include <atomic>
#include <thread>

#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

class Interrupts : public PlatformTest {};

GUEST_CODE(spin, R"(
  mov $0x600000, %rbx
1: addq $1, (%rbx)
  jmp 1b
)");

TEST_P(Interrupts, StopSpinningCode) {
  Task task;
  std::atomic<int> stops = 0;
  task.hook = [&](Task& self, Thread& thread, const Trap& trap) {
    EXPECT_EQ(trap.kind, Trap::Kind::kInterrupt);
    EXPECT_TRUE(thread.has_registers());
    EXPECT_GE(thread.regs().rip, kCodeAddr);
    EXPECT_LT(thread.regs().rip, kCodeAddr + spin.size());
    if (++stops == 100) {
      self.Exit();
      return;
    }
    self.Report(0);
  };
  task.Run(NewProcess(task, spin));
  for (size_t i = 0; i < 100; ++i) {
    task.thread().Interrupt();
    if (i < 99) {
      ASSERT_TRUE(task.WaitReports(i + 1));
    }
  }
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(stops, 100);
}

GUEST_CODE(call_then_spin, CALL_HOOK R"(
1: jmp 1b
)");

// An interrupt during a call is served when the call is over, at the instruction after it and with its result.
TEST_P(Interrupts, DuringACallComeAfterIt) {
  Task task;
  std::vector<Trap::Kind> kinds;
  task.hook = [&](Task& self, Thread& thread, const Trap& trap) {
    kinds.push_back(trap.kind);
    if (trap.kind == Trap::Kind::kSyscall) {
      thread.Interrupt();
      thread.Interrupt();
      thread.SetReturn(4711);
      return;
    }
    EXPECT_EQ(thread.regs().rax, 4711u);
    EXPECT_EQ(thread.regs().orig_rax, ~uint64_t{0});
    self.Exit();
  };
  task.Run(NewProcess(task, call_then_spin));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(kinds, (std::vector<Trap::Kind>{Trap::Kind::kSyscall, Trap::Kind::kInterrupt}));
}

TEST_P(Interrupts, BeforeStartStopsAtTheFirstInstruction) {
  Task task;
  uint64_t rip = 0;
  task.hook = [&](Task& self, Thread& thread, const Trap& trap) {
    EXPECT_EQ(trap.kind, Trap::Kind::kInterrupt);
    rip = thread.regs().rip;
    self.Exit();
  };
  auto thread = NewProcess(task, spin);
  ASSERT_NE(thread, nullptr);
  thread->Interrupt();
  task.Run(std::move(thread));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(rip, kCodeAddr);
}

GUEST_CODE(call_for_ever, R"(
  mov $0x600000, %rbx
1: mov $403, %eax
  syscall
  cmp $7, %rax
  jne 2f
  addq $1, (%rbx)
  jmp 1b
2: mov %rax, %rdi
  mov $401, %eax
  syscall
  jmp 2b
)");

// Two threads of the sentry interrupt a guest thread that makes short calls as fast as it can: no call may lose its
// result and no interrupt may get lost.
TEST_P(Interrupts, RacingWithCalls) {
  Task task;
  std::atomic<uint64_t> calls = 0;
  std::atomic<uint64_t> stops = 0;
  std::atomic<bool> stop = false;
  task.hook = [&](Task& self, Thread& thread, const Trap& trap) {
    if (trap.kind == Trap::Kind::kSyscall) {
      ++calls;
      thread.SetReturn(7);
      return;
    }
    EXPECT_EQ(trap.kind, Trap::Kind::kInterrupt);
    ++stops;
    if (stop) self.Exit();
  };
  task.Run(NewProcess(task, call_for_ever));
  auto pester = [&] {
    for (int i = 0; i < 400; ++i) {
      task.thread().Interrupt();
      // Interrupts without a pause would keep the guest from running at all.
      const uint64_t before = calls;
      while (i % 4 == 0 && calls == before) std::this_thread::yield();
    }
  };
  std::thread one(pester), two(pester);
  one.join();
  two.join();
  stop = true;
  task.thread().Interrupt();
  ASSERT_TRUE(task.WaitExit());
  EXPECT_TRUE(task.reports().empty()) << "a call lost its result: " << static_cast<int64_t>(task.reports()[0]);
  EXPECT_GT(calls, 0u);
  EXPECT_GT(stops, 0u);
}

// A single interrupt must reach a thread that is always on its way in or out of a call.
TEST_P(Interrupts, AreNeverLost) {
  for (int round = 0; round < 200; ++round) {
    Task task;
    task.hook = [&](Task& self, Thread& thread, const Trap& trap) {
      if (trap.kind == Trap::Kind::kInterrupt) {
        self.Exit();
      } else {
        thread.SetReturn(7);
      }
    };
    task.Run(NewProcess(task, call_for_ever));
    for (int i = 0; i < round * 50; ++i) asm volatile("pause");
    task.thread().Interrupt();
    ASSERT_TRUE(task.WaitExit()) << "round " << round;
  }
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, Interrupts, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
