// Threads, forks, vfork children; the orders in which they end; processes that the host kills.
#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <list>
#include <thread>

#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

class Clones : public PlatformTest {};

// Calls the hook; what comes back in rax is 0 for the child. Both store it at their own slot and report.
GUEST_CODE(fork_once, CALL_HOOK R"(
  mov $0x600000, %rbx
  test %rax, %rax
  jz 1f
  movq $1, (%rbx)
  mov $100, %edi
  jmp 2f
1: movq $2, 8(%rbx)
  mov $200, %edi
2:
)" CALL_REPORT R"(
  mov (%rbx), %rdi
)" CALL_REPORT R"(
  mov 8(%rbx), %rdi
)" CALL_REPORT CALL_EXIT);

// Runs fork_once; the child starts when the parent has exited or, with child_first, the other way round.
void RunForkOnce(Task& parent, Task& child, std::unique_ptr<Thread> thread, CloneOptions options) {
  parent.hook = [&](Task&, Thread& self, const Trap&) {
    auto made = self.Clone(options, child);
    ASSERT_TRUE(made.ok());
    EXPECT_NE((*made)->host_tid(), self.host_tid());
    EXPECT_EQ((*made)->regs().rax, 0u);
    self.SetReturn(1);
    child.Adopt(std::move(*made));
  };
  parent.Run(std::move(thread));
  ASSERT_TRUE(parent.WaitReports(3));
  child.thread().Start();
  ASSERT_TRUE(child.WaitExit());
  ASSERT_TRUE(parent.WaitExit());
}

TEST_P(Clones, ForkCopiesMemory) {
  Task parent, child;
  RunForkOnce(parent, child, NewProcess(parent, fork_once), {});
  EXPECT_EQ(parent.reports(), (std::vector<uint64_t>{100, 1, 0}));
  EXPECT_EQ(child.reports(), (std::vector<uint64_t>{200, 0, 2}));
  EXPECT_NE(parent.thread().address_space(), child.thread().address_space());
}

TEST_P(Clones, VforkChildSharesMemory) {
  Task parent, child;
  RunForkOnce(parent, child, NewProcess(parent, fork_once), {.share_memory = true});
  EXPECT_EQ(parent.reports(), (std::vector<uint64_t>{100, 1, 0}));
  EXPECT_EQ(child.reports(), (std::vector<uint64_t>{200, 1, 2}));
  EXPECT_EQ(parent.thread().address_space(), child.thread().address_space());
}

// The leader is gone when the thread runs: its memory must live on, and stay readable.
TEST_P(Clones, ThreadSharesMemoryAndOutlivesItsLeader) {
  Task parent, child;
  RunForkOnce(parent, child, NewProcess(parent, fork_once), {.share_memory = true, .thread = true});
  EXPECT_EQ(parent.reports(), (std::vector<uint64_t>{100, 1, 0}));
  EXPECT_EQ(child.reports(), (std::vector<uint64_t>{200, 1, 2}));
}

GUEST_CODE(one_hook, CALL_HOOK CALL_EXIT);
GUEST_CODE(two_hooks, CALL_HOOK CALL_HOOK CALL_EXIT);

TEST_P(Clones, MemoryIsReachableAfterTheLeaderEnded) {
  Task leader, thread;
  leader.hook = [&](Task& self, Thread& platform_thread, const Trap&) {
    auto made = platform_thread.Clone({.share_memory = true, .thread = true}, thread);
    ASSERT_TRUE(made.ok());
    thread.Adopt(std::move(*made));
    self.Exit();
  };
  leader.Run(NewProcess(leader, two_hooks));
  ASSERT_TRUE(leader.WaitExit());
  thread.hook = [&](Task&, Thread& self, const Trap&) {
    AwaitHostState(leader.thread().host_tid(), "ZS");  // it has ended, or waits for the rest of its group to
    WriteWord(self, kDataAddr, 42);
    EXPECT_EQ(ReadWord(self, kDataAddr), 42u);
    self.QueueMemoryOp(MapAnonymous(kFreeAddr, kPageSize, PROT_READ | PROT_WRITE));
    EXPECT_TRUE(self.FlushMemoryOps().ok());
    WriteWord(self, kFreeAddr, 43);
    auto old = self.address_space()->CompareExchange(GuestAddr(kFreeAddr), 43, 44);
    EXPECT_TRUE(old.ok() && *old == 43);
  };
  thread.thread().Start();
  ASSERT_TRUE(thread.WaitExit());
}

TEST_P(Clones, NeverStartedThreadsCanExit) {
  Task parent;
  std::list<Task> children;
  parent.hook = [&](Task&, Thread& self, const Trap&) {
    for (const CloneOptions options :
         {CloneOptions{}, CloneOptions{.share_memory = true}, CloneOptions{.share_memory = true, .thread = true}}) {
      Task& child = children.emplace_back();
      auto made = self.Clone(options, child);
      ASSERT_TRUE(made.ok());
      child.Adopt(std::move(*made));
      child.Exit();
    }
  };
  parent.Run(NewProcess(parent, two_hooks));
  ASSERT_TRUE(parent.WaitExit());
}

GUEST_CODE(add_in_loop, R"(
  mov $2000, %ecx
1: lock addq $1, 0x600000
  dec %ecx
  jnz 1b
)" CALL_HOOK CALL_EXIT);

// Every thread of a process compares and exchanges a word through the platform while guest code adds to it.
TEST_P(Clones, CompareExchangeUnderContention) {
  constexpr int kThreads = 6, kRounds = 50;
  Task leader;
  std::list<Task> threads;
  auto add = [&](Task&, Thread& self, const Trap&) {
    for (int i = 0; i < kRounds; ++i) {
      uint32_t seen = 0;
      for (;;) {
        auto got = self.address_space()->CompareExchange(GuestAddr(kDataAddr), seen, seen + 1);
        ASSERT_TRUE(got.ok());
        if (*got == seen) break;
        seen = *got;
      }
    }
  };
  leader.hook = [&](Task& self, Thread& thread, const Trap& trap) {
    add(self, thread, trap);
    if (!threads.empty()) return;
    for (int i = 1; i < kThreads; ++i) {
      Task& task = threads.emplace_back();
      auto made = thread.Clone({.share_memory = true, .thread = true}, task);
      ASSERT_TRUE(made.ok());
      (*made)->regs().rip = kCodeAddr;
      task.hook = add;
      task.Run(std::move(*made));
    }
    thread.BeginBlock();  // the last of them may be waiting for this
    for (Task& task : threads) EXPECT_TRUE(task.WaitExit());
    thread.EndBlock();
    EXPECT_EQ(ReadWord(thread, kDataAddr), uint64_t{kThreads} * (2000 + kRounds));
  };
  leader.Run(NewProcess(leader, add_in_loop));
  ASSERT_TRUE(leader.WaitExit());
}

GUEST_CODE(spin_on_word, R"(
  mov $5, %edi
)" CALL_REPORT R"(
1: cmpl $0, 0x600000
  je 1b
  mov $6, %edi
)" CALL_REPORT CALL_EXIT);

GUEST_CODE(spin_after_report, CALL_REPORT R"(
1: jmp 1b
)");

// From a sentry thread that serves no trap of the process (a futex operation on shared memory).
TEST_P(Clones, CompareExchangeFromOutside) {
  Task task;
  task.Run(NewProcess(task, spin_on_word));
  ASSERT_TRUE(task.WaitReports(1));
  auto& memory = *task.thread().address_space();
  auto got = memory.CompareExchange(GuestAddr(kDataAddr), 0, 1);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(*got, 0u);
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), (std::vector<uint64_t>{5, 6}));
}

// Generations: each child forks the next.
TEST_P(Clones, FiveHundredForks) {
  std::vector<Task> tasks(500);
  std::atomic<size_t> next = 1;
  for (Task& task : tasks) {
    task.hook = [&](Task&, Thread& self, const Trap&) {
      const size_t index = next++;
      if (index >= tasks.size()) return;
      auto made = self.Clone({}, tasks[index]);
      ASSERT_TRUE(made.ok());
      (*made)->regs().rip = kCodeAddr;
      tasks[index].Run(std::move(*made));
    };
  }
  tasks[0].Run(NewProcess(tasks[0], one_hook));
  for (Task& task : tasks) ASSERT_TRUE(task.WaitExit());
}

TEST_P(Clones, KilledProcessIsReportedDead) {
  Task task;
  std::vector<Trap> traps;
  task.on_any = [&](Task& self, Thread& thread, const Trap& trap) {
    traps.push_back(trap);
    if (trap.kind == Trap::Kind::kDead) {
      char byte;
      EXPECT_FALSE(thread.address_space()->Read(GuestAddr(kDataAddr), &byte, 1).ok());
      self.Exit();
      return;
    }
    thread.SetReturn(0);
    self.Report(1);
  };
  task.Run(NewProcess(task, spin_after_report));
  ASSERT_TRUE(task.WaitReports(1));
  kill(task.thread().host_tid(), SIGKILL);
  ASSERT_TRUE(task.WaitExit());
  ASSERT_EQ(traps.size(), 2u);
  EXPECT_EQ(traps[1].kind, Trap::Kind::kDead);
  EXPECT_TRUE(traps[1].death_signal == SIGKILL || traps[1].death_signal == 0);
}

// Killed while the sentry serves a call: every operation fails, none hangs, and then comes the report.
TEST_P(Clones, KilledDuringACall) {
  Task task;
  std::vector<Trap::Kind> kinds;
  task.on_any = [&](Task& self, Thread& thread, const Trap& trap) {
    kinds.push_back(trap.kind);
    if (trap.kind == Trap::Kind::kDead) {
      self.Exit();
      return;
    }
    kill(thread.host_tid(), SIGKILL);
    AwaitHostState(thread.host_tid(), "ZX");
    thread.QueueMemoryOp(MapAnonymous(kFreeAddr, kPageSize, PROT_READ));
    EXPECT_FALSE(thread.FlushMemoryOps().ok());
    EXPECT_FALSE(thread.address_space()->CompareExchange(GuestAddr(kDataAddr), 0, 1).ok());
    Task nobody;
    EXPECT_FALSE(thread.Clone({}, nobody).ok());
    thread.Interrupt();
  };
  task.Run(NewProcess(task, two_hooks));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(kinds.back(), Trap::Kind::kDead);
}

// Host processes of this test process's session that are not it: what the platform left behind.
int GuestProcesses() {
  int count = 0;
  DIR* proc = opendir("/proc");
  while (const dirent* entry = readdir(proc)) {
    if (std::atoi(entry->d_name) <= 0) continue;
    std::ifstream stat(std::string("/proc/") + entry->d_name + "/stat");
    std::string line;
    std::getline(stat, line);
    const size_t end = line.rfind(')');
    if (end == std::string::npos) continue;
    if (std::atoi(line.c_str() + end + 4) == getpid()) ++count;
  }
  closedir(proc);
  return count;
}

TEST_P(Clones, LeaveNoProcessesBehind) {
  auto batch = [&](int runs) {
    for (int i = 0; i < runs; ++i) {
      Task parent, child;
      RunForkOnce(parent, child, NewProcess(parent, fork_once), {});
    }
  };
  batch(5);
  const int before = GuestProcesses();
  batch(40);
  // Each run has two processes. The platform buries the dead, and fills its pool, in its own time.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (GuestProcesses() > before + 8 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_LE(GuestProcesses(), before + 8);
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, Clones, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
