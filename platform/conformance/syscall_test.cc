// Calls: numbers, arguments, results, and what a call leaves untouched.
#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

class Syscalls : public PlatformTest {};

GUEST_CODE(report_twice, R"(
  mov $11, %edi
)" CALL_REPORT R"(
  mov $22, %edi
)" CALL_REPORT CALL_EXIT);

TEST_P(Syscalls, AreSeenInOrder) {
  Task task;
  task.Run(NewProcess(task, report_twice));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), (std::vector<uint64_t>{11, 22}));
}

// The same call in each lane: six arguments in, one result out.
GUEST_CODE(one_call_a_lane, R"(
.macro lane_call nr
  mov $0x1111111111111111, %rdi
  mov $0x2222222222222222, %rsi
  mov $0x3333333333333333, %rdx
  mov $0x4444444444444444, %r10
  mov $0x5555555555555555, %r8
  mov $0x6666666666666666, %r9
  mov $\nr, %eax
  )" ENTER R"(
  mov %rax, %rdi
  mov $401, %eax
  )" ENTER R"(
.endm
  lane_call 402
  lane_call 403
  lane_call 404
  lane_call 499
)" CALL_EXIT);

TEST_P(Syscalls, CarryArgumentsAndResultsInEveryLane) {
  Task task;
  std::vector<Trap> seen;
  task.hook = [&](Task&, Thread& thread, const Trap& trap) {
    seen.push_back(trap);
    thread.SetReturn(static_cast<int64_t>(trap.nr) * 1000);
  };
  task.Run(NewProcess(task, one_call_a_lane));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), (std::vector<uint64_t>{402000, 403000, 404000, static_cast<uint64_t>(-ENOSYS)}));
  ASSERT_EQ(seen.size(), 3u);
  for (const Trap& trap : seen) {
    for (uint64_t i = 0; i < 6; ++i) EXPECT_EQ(trap.args[i], (i + 1) * 0x1111111111111111) << trap.nr;
    EXPECT_GT(trap.ip.value(), kCodeAddr);
  }
}

// Loads every register, calls, stores every register; the frame pointer and stack pointer included.
GUEST_CODE(keep_registers, R"(
  mov $0x600000, %r15
  mov $1, %rbx
  mov $2, %rbp
  mov $3, %rdi
  mov $4, %rsi
  mov $5, %rdx
  mov $6, %r8
  mov $7, %r9
  mov $8, %r10
  mov $9, %r12
  mov $10, %r13
  mov $11, %r14
  stc
  mov %ecx, %eax
)" ENTER R"(
  pushf
  mov %rax, (%r15)
  mov %rbx, 8(%r15)
  mov %rbp, 16(%r15)
  mov %rdi, 24(%r15)
  mov %rsi, 32(%r15)
  mov %rdx, 40(%r15)
  mov %r8, 48(%r15)
  mov %r9, 56(%r15)
  mov %r10, 64(%r15)
  mov %r12, 72(%r15)
  mov %r13, 80(%r15)
  mov %r14, 88(%r15)
  mov %rsp, 96(%r15)
  pop 104(%r15)
)" CALL_HOOK);

TEST_P(Syscalls, PreserveRegisters) {
  for (const uint64_t nr : {kCallHook, kCallShort, kCallBlock}) {
    Task task;
    int calls = 0;
    std::vector<uint64_t> stored;
    task.hook = [&](Task& self, Thread& thread, const Trap&) {
      thread.SetReturn(77);
      if (++calls == 1) return;
      for (uint64_t i = 0; i < 14; ++i) stored.push_back(ReadWord(thread, kDataAddr + i * 8));
      self.Exit();
    };
    auto thread = NewProcess(task, keep_registers);
    ASSERT_NE(thread, nullptr);
    thread->regs().rcx = nr;
    task.Run(std::move(thread));
    ASSERT_TRUE(task.WaitExit());
    ASSERT_EQ(stored.size(), 14u);
    EXPECT_EQ(stored[0], 77u);
    for (uint64_t i = 1; i <= 11; ++i) EXPECT_EQ(stored[i], i) << "slot " << i << " of call " << nr;
    EXPECT_EQ(stored[12], kStackTop - 8);
    EXPECT_EQ(stored[13] & 1, 1u) << "carry flag";
  }
}

GUEST_CODE(report_rbx, CALL_HOOK R"(
  mov %rbx, %rdi
)" CALL_REPORT CALL_EXIT);

TEST_P(Syscalls, RegisterChangesTakeEffect) {
  Task task;
  task.hook = [&](Task&, Thread& thread, const Trap& trap) {
    ASSERT_TRUE(thread.has_registers());
    EXPECT_EQ(thread.regs().orig_rax, kCallHook);
    EXPECT_EQ(thread.regs().rip, trap.ip.value());
    thread.regs().rbx = 0xabcdef;
    thread.SetReturn(0);
  };
  task.Run(NewProcess(task, report_rbx));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), std::vector<uint64_t>{0xabcdef});
}

// As execve and sigreturn do: somewhere else entirely, with another stack and thread pointer.
GUEST_CODE(elsewhere, R"(
  mov %fs:0, %rdi
)" CALL_REPORT R"(
  pop %rdi
)" CALL_REPORT CALL_EXIT);

TEST_P(Syscalls, InstructionPointerStackAndThreadPointerCanBeReplaced) {
  Task task;
  task.hook = [&](Task&, Thread& thread, const Trap&) {
    WriteWord(thread, kDataAddr + 64, 1234);
    WriteWord(thread, kDataAddr + 128, 5678);
    arch::Registers& regs = thread.regs();
    regs.set_ip(kCodeAddr + kPageSize);
    regs.set_sp(kDataAddr + 128);
    regs.set_tls(kDataAddr + 64);
  };
  auto thread = NewProcess(task, report_rbx);
  ASSERT_NE(thread, nullptr);
  AddCode(*thread, 1, elsewhere);
  task.Run(std::move(thread));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), (std::vector<uint64_t>{1234, 5678}));
}

// A restarted call: rip back to the instruction, rax the number again.
TEST_P(Syscalls, CanBeRestarted) {
  Task task;
  int calls = 0;
  task.hook = [&](Task&, Thread& thread, const Trap& trap) {
    if (++calls < 3) {
      thread.regs().set_ip(trap.ip.value() - arch::kSyscallInsnLength);
      thread.regs().set_return_value(trap.nr);
      return;
    }
    thread.regs().rbx = 5;
  };
  task.Run(NewProcess(task, report_rbx));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(task.reports(), std::vector<uint64_t>{5});
}

// Results that the host would take for a restart code of its own must reach the guest.
GUEST_CODE(report_result, CALL_SHORT R"(
  mov %rax, %rdi
)" CALL_REPORT CALL_EXIT);

TEST_P(Syscalls, ResultsAreNeverInterpreted) {
  for (const int64_t value : {int64_t{-512}, int64_t{-513}, int64_t{-514}, int64_t{-516}, INT64_MIN, INT64_MAX}) {
    Task task;
    task.hook = [&](Task&, Thread& thread, const Trap&) { thread.SetReturn(value); };
    task.Run(NewProcess(task, report_result));
    ASSERT_TRUE(task.WaitExit());
    EXPECT_EQ(task.reports(), std::vector<uint64_t>{static_cast<uint64_t>(value)});
  }
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, Syscalls, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
