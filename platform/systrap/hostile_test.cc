// Stubs under the guest's control: whatever they do, they harm only themselves, and the next process runs.
#include <sys/syscall.h>

#include <csignal>
#include <cstring>

#include "platform/conformance/harness.h"
#include "platform/stub/frame.h"
#include "platform/stub/stub.h"

namespace sandbox::platform {
namespace {

using namespace std::string_literals;

class HostileStubs : public PlatformTest {
 protected:
  // Runs code that ends in any way at all, and reports how.
  void Attack(Task& task, std::string_view code) {
    task.Run(NewProcess(task, code));
    ASSERT_TRUE(task.WaitExit());
    StillUsable();
  }
  void StillUsable();
};

bool Died(Task& task) {
  const auto traps = task.traps();
  return traps.size() == 1 && traps[0].kind == Trap::Kind::kDead;
}

GUEST_CODE(well_behaved, "mov $7, %edi\n" CALL_REPORT CALL_EXIT);

void HostileStubs::StillUsable() {
  Task task;
  task.Run(NewProcess(task, well_behaved));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), std::vector<uint64_t>{7});
}

// Rings with every kind, from guest code, where no register was saved and no command is under way.
#define FORGED(kind) "mov $0x2fe11000, %eax\nmov $" #kind ", %edi\nsyscall\n"
GUEST_CODE(forged_hello, FORGED(1) CALL_EXIT);
GUEST_CODE(forged_call, FORGED(2) CALL_EXIT);
GUEST_CODE(forged_fault, FORGED(3) CALL_EXIT);
GUEST_CODE(forged_interrupt, FORGED(4) CALL_EXIT);
GUEST_CODE(forged_done, FORGED(5) CALL_EXIT);
GUEST_CODE(forged_failure, FORGED(6) CALL_EXIT);
GUEST_CODE(forged_nonsense, FORGED(77) CALL_EXIT);

TEST_P(HostileStubs, ForgedBells) {
  for (const std::string_view code :
       {forged_hello, forged_call, forged_fault, forged_interrupt, forged_done, forged_failure, forged_nonsense}) {
    Task task;
    Attack(task, code);
  }
}

// Fills the thread page and the data of calls with ones, then traps.
GUEST_CODE(garbage_page, R"(
  movabs $0x7fff00020000, %rdi
  mov $65536, %ecx
  mov $0xff, %al
  rep stosb
)" CALL_REPORT R"(
  movabs $0x7fff00020000, %rdi
  mov $65536, %ecx
  mov $0xff, %al
  rep stosb
)" FORGED(2) FORGED(6) FORGED(3) CALL_EXIT);

TEST_P(HostileStubs, GarbageInTheThreadPage) {
  Task task;
  Attack(task, garbage_page);
}

// The same, then claims to have come through the fast lane with the arguments of a short call, and inputs without end.
GUEST_CODE(garbage_call, R"(
  movabs $0x7fff00020000, %rdi
  mov $65536, %ecx
  mov $0xff, %al
  rep stosb
  movabs $0x7fff00020000, %rdi
  movl $403, 4(%rdi)
)" FORGED(7) CALL_EXIT);

TEST_P(HostileStubs, GarbageInTheDataOfCalls) {
  Task task;
  task.hook = [](Task& self, Thread& thread, const Trap& trap) {
    std::vector<char> data(1 << 20);
    for (const size_t size : {1, 8192, 8193, 65536, 1 << 20}) {
      for (int i = 0; i < 2; ++i) (void)thread.ReadInput(GuestAddr(trap.args[i]), data.data(), size);
    }
    EXPECT_FALSE(thread.ReadInput(GuestAddr(trap.args[0]), data.data(), 8193));
    EXPECT_FALSE(thread.ReadInput(GuestAddr(trap.args[0] - 8192), data.data(), data.size()));
    self.Exit();
  };
  Attack(task, garbage_call);
}

GUEST_CODE(unmap_region, R"(
  mov $11, %eax
  movabs $0x7fff00000000, %rdi
  mov $0x3f000000, %esi
  movabs $0x7fff00000000, %rbx
1: cmpw $0x050f, (%rbx)
  je 2f
  inc %rbx
  jmp 1b
2: jmp *%rbx
)");

TEST_P(HostileStubs, PlatformMemoryUnmapped) {
  Task task;
  Attack(task, unmap_region);
  EXPECT_TRUE(Died(task));
}

// Looks for a system call instruction in the stub's text and jumps there, with r15 as call number.
#define THROUGH_STUB               \
  "movabs $0x7fff00000000, %rbx\n" \
  "1: cmpw $0x050f, (%rbx)\n"      \
  "je 2f\n"                        \
  "inc %rbx\n"                     \
  "jmp 1b\n"                       \
  "2: mov %r15, %rax\n"            \
  "jmp *%rbx\n"
GUEST_CODE(clone_through_stub, "mov $56, %r15d\nmov $0x8011, %edi\nxor %esi, %esi\n" THROUGH_STUB);
GUEST_CODE(exit_through_stub, "mov $231, %r15d\nxor %edi, %edi\n" THROUGH_STUB);
GUEST_CODE(thread_exit_through_stub, "mov $60, %r15d\nxor %edi, %edi\n" THROUGH_STUB);

TEST_P(HostileStubs, CloneWithoutApproval) {
  Task task;
  Attack(task, clone_through_stub);
  EXPECT_TRUE(Died(task));
}

TEST_P(HostileStubs, ExitBehindOurBack) {
  for (const std::string_view code : {exit_through_stub, thread_exit_through_stub}) {
    Task task;
    Attack(task, code);
    EXPECT_TRUE(Died(task));
  }
}

GUEST_CODE(spin, "1: jmp 1b\n");

TEST_P(HostileStubs, KilledFromOutside) {
  Task task;
  task.Run(NewProcess(task, spin));
  ASSERT_EQ(kill(task.thread().host_tid(), SIGKILL), 0);
  ASSERT_TRUE(task.WaitExit());
  ASSERT_TRUE(Died(task));
  EXPECT_EQ(task.traps()[0].death_signal, SIGKILL);
}

// rt_sigreturn with a frame that masks everything, to a loop: interrupts do not get through, and time runs out.
TEST_P(HostileStubs, MaskedSignals) {
  Task task;
  auto thread = NewProcess(task, spin);
  ASSERT_NE(thread, nullptr);
  stub::UContext frame = {};
  frame.sigmask = ~0ull;
  frame.mcontext.rip = kCodeAddr;
  frame.mcontext.cs = 0x33;
  frame.mcontext.ss = 0x2b;
  frame.mcontext.rsp = kStackTop;
  ASSERT_TRUE(thread->address_space()->Write(GuestAddr(kDataAddr), &frame, sizeof(frame)).ok());
  thread->regs().rip = stub::PlacedAddress(&stub::StubRestorer);
  thread->regs().rsp = kDataAddr;
  task.Run(std::move(thread));
  usleep(50'000);
  task.thread().Interrupt();
  for (int i = 0; i < 3 && !task.exited(); ++i) (void)task.WaitExit();
  EXPECT_TRUE(task.exited());
  EXPECT_TRUE(Died(task));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Systrap, HostileStubs, testing::Values("systrap"));

}  // namespace sandbox::platform
