// Faults: signal, code and address of each kind, and resuming after them.
#include <signal.h>
#include <sys/mman.h>

#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

class Faults : public PlatformTest {
 protected:
  // Runs `code` until its first trap that is no call.
  Trap FirstTrap(std::string_view code, std::vector<MemoryOp> ops = {}) {
    Task task;
    auto thread = NewProcess(task, code);
    for (MemoryOp& op : ops) thread->QueueMemoryOp(std::move(op));
    task.Run(std::move(thread));
    EXPECT_TRUE(task.WaitExit());
    const auto traps = task.traps();
    EXPECT_EQ(traps.size(), 1u);
    return traps.empty() ? Trap{} : traps[0];
  }
};

void ExpectFault(const Trap& trap, int signo, int code, uint64_t address) {
  EXPECT_EQ(trap.kind, Trap::Kind::kFault);
  EXPECT_EQ(trap.fault.signo, signo);
  EXPECT_EQ(trap.fault.code, code);
  EXPECT_EQ(trap.fault.address.value(), address);
}

GUEST_CODE(read_hole, "mov 0x10000008, %rax\n" CALL_EXIT);
GUEST_CODE(write_hole, "mov %rax, 0x10000010\n" CALL_EXIT);
GUEST_CODE(write_code, "movb $1, 0x400100\n" CALL_EXIT);
GUEST_CODE(jump_data, "mov $0x600040, %eax\njmp *%rax\n");
GUEST_CODE(read_high, "mov $0xffff800000000000, %rax\nmov (%rax), %rax\n");
GUEST_CODE(read_noncanonical, "mov $0x1234567800000000, %rax\nmov (%rax), %rax\n");

TEST_P(Faults, ReadOfUnmappedMemory) {
  const Trap trap = FirstTrap(read_hole);
  ExpectFault(trap, SIGSEGV, SEGV_MAPERR, kFreeAddr + 8);
  EXPECT_EQ(trap.fault.trapno, 14u);
  EXPECT_EQ(trap.fault.error, 4u);
}

TEST_P(Faults, WriteToUnmappedMemory) {
  const Trap trap = FirstTrap(write_hole);
  ExpectFault(trap, SIGSEGV, SEGV_MAPERR, kFreeAddr + 16);
  EXPECT_EQ(trap.fault.error, 6u);
}

TEST_P(Faults, WriteToReadOnlyMemory) {
  const Trap trap = FirstTrap(write_code);
  ExpectFault(trap, SIGSEGV, SEGV_ACCERR, kCodeAddr + 0x100);
  EXPECT_EQ(trap.fault.error, 7u);
}

TEST_P(Faults, ExecutionOfData) {
  const Trap trap = FirstTrap(jump_data);
  ExpectFault(trap, SIGSEGV, SEGV_ACCERR, kDataAddr + 0x40);
  EXPECT_EQ(trap.fault.error, 0x15u);
}

TEST_P(Faults, ReadOfKernelAddress) {
  const Trap trap = FirstTrap(read_high);
  EXPECT_EQ(trap.kind, Trap::Kind::kFault);
  EXPECT_EQ(trap.fault.signo, SIGSEGV);
}

TEST_P(Faults, NonCanonicalAddress) { ExpectFault(FirstTrap(read_noncanonical), SIGSEGV, SI_KERNEL, 0); }

GUEST_CODE(read_past_file, "mov 0x10001000, %rax\n" CALL_EXIT);

TEST_P(Faults, BusErrorPastEndOfFile) {
  const UniqueFd fd = MakeFile(1, 1);
  const Trap trap = FirstTrap(read_past_file, {MapFile(kFreeAddr, 2 * kPageSize, PROT_READ, MAP_SHARED, fd.get())});
  ExpectFault(trap, SIGBUS, BUS_ADRERR, kFreeAddr + kPageSize);
  EXPECT_EQ(trap.fault.trapno, 14u);
}

GUEST_CODE(divide, "xor %ecx, %ecx\nxor %edx, %edx\ndiv %ecx\n");
GUEST_CODE(undefined, "nop\nud2\n");
GUEST_CODE(breakpoint, "nop\nint3\nnop\n" CALL_EXIT);
GUEST_CODE(privileged, "hlt\n");
GUEST_CODE(old_call, "mov $1, %eax\nint $0x80\n" CALL_EXIT);

TEST_P(Faults, Divide) {
  const Trap trap = FirstTrap(divide);
  ExpectFault(trap, SIGFPE, FPE_INTDIV, kCodeAddr + 4);
  EXPECT_EQ(trap.fault.trapno, 0u);
}

TEST_P(Faults, Undefined) {
  const Trap trap = FirstTrap(undefined);
  ExpectFault(trap, SIGILL, ILL_ILLOPN, kCodeAddr + 1);
  EXPECT_EQ(trap.fault.trapno, 6u);
}

TEST_P(Faults, Breakpoint) {
  Task task;
  uint64_t rip = 0;
  task.hook = [&](Task& self, Thread& thread, const Trap&) {
    rip = thread.regs().rip;
    self.Exit();
  };
  task.Run(NewProcess(task, breakpoint));
  ASSERT_TRUE(task.WaitExit());
  ASSERT_EQ(task.traps().size(), 1u);
  ExpectFault(task.traps()[0], SIGTRAP, SI_KERNEL, 0);
  EXPECT_EQ(task.traps()[0].fault.trapno, 3u);
  EXPECT_EQ(rip, kCodeAddr + 2);
}

TEST_P(Faults, PrivilegedInstruction) {
  const Trap trap = FirstTrap(privileged);
  ExpectFault(trap, SIGSEGV, SI_KERNEL, 0);
  EXPECT_EQ(trap.fault.trapno, 13u);
}

// The 32-bit gate must never be served with 64-bit numbers (1 would be write instead of exit).
TEST_P(Faults, ThirtyTwoBitGateIsRefused) {
  const Trap trap = FirstTrap(old_call);
  EXPECT_EQ(trap.kind, Trap::Kind::kFault);
  EXPECT_EQ(trap.fault.signo, SIGSEGV);
}

GUEST_CODE(step, R"(
  pushf
  orl $0x100, (%rsp)
  popf
  nop
)" CALL_EXIT);

TEST_P(Faults, TrapFlagSingleSteps) {
  const Trap trap = FirstTrap(step);
  ExpectFault(trap, SIGTRAP, TRAP_TRACE, kCodeAddr + 10);
  EXPECT_EQ(trap.fault.trapno, 1u);
}

// A handler that repairs the cause lets the instruction run again; registers at the fault are the guest's.
GUEST_CODE(touch, R"(
  mov $0x55, %ebx
  mov 0x10000000, %rdi
)" CALL_REPORT CALL_EXIT);

TEST_P(Faults, ResumeAfterRepair) {
  Task task;
  const UniqueFd fd = MakeFile(1, 0x21);
  task.hook = [&](Task&, Thread& thread, const Trap& trap) {
    ASSERT_EQ(trap.kind, Trap::Kind::kFault);
    EXPECT_EQ(thread.regs().rbx, 0x55u);
    thread.QueueMemoryOp(MapFile(kFreeAddr, kPageSize, PROT_READ, MAP_PRIVATE, fd.get()));
  };
  task.Run(NewProcess(task, touch));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), std::vector<uint64_t>{0x2121212121212121});
}

GUEST_CODE(call_twice, CALL_HOOK CALL_HOOK CALL_EXIT);

// The host's own signals are not the guest's.
TEST_P(Faults, SignalsSentByTheHostAreIgnored) {
  Task task;
  task.hook = [&](Task&, Thread& thread, const Trap& trap) {
    EXPECT_EQ(trap.kind, Trap::Kind::kSyscall);
    for (const int signo : {SIGTERM, SIGUSR1, SIGSEGV, SIGCHLD, SIGSTOP}) kill(thread.host_tid(), signo);
  };
  task.Run(NewProcess(task, call_twice));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_TRUE(task.traps().empty());
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, Faults, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
