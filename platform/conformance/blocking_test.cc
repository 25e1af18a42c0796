// Tasks that block must not hold up others, nor cost anything while they do.
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <list>
#include <thread>

#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

class Blocking : public PlatformTest {};

// A latch that hooks wait on the way the kernel's tasks wait.
class Latch {
 public:
  void Wait(Thread& thread) {
    thread.BeginBlock();
    {
      std::unique_lock<std::mutex> lock(mu_);
      changed_.wait(lock, [&] { return open_; });
    }
    thread.EndBlock();
  }
  void Open() {
    std::lock_guard<std::mutex> lock(mu_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  bool open_ = false;
};

// First the hook, where the leader makes threads (which go on behind the call); then a call that blocks, whose number
// is in r13; then a report of its result.
GUEST_CODE(clone_then_block, CALL_HOOK R"(
  mov $1, %edi
)" CALL_REPORT R"(
  mov %r13d, %eax
  syscall
  mov %rax, %rdi
)" CALL_REPORT CALL_EXIT);

GUEST_CODE(count_calls, R"(
  mov $2000, %ebx
1: mov $403, %eax
  syscall
  dec %ebx
  jnz 1b
)" CALL_EXIT);

uint64_t ProcessCpuNs() {
  timespec ts;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(ts.tv_nsec);
}

// 100 threads of one process blocked in `nr`; meanwhile another process works, and then nobody does.
void BlockMany(PlatformTest&, uint64_t nr, std::unique_ptr<Thread> thread, Task& leader,
               std::function<void()> meanwhile) {
  Latch latch;
  std::list<Task> tasks(100);
  Hook block = [&](Task&, Thread& self, const Trap& trap) {
    latch.Wait(self);
    self.SetReturn(static_cast<int64_t>(trap.nr));
  };
  bool cloned = false;
  leader.hook = [&](Task& self, Thread& platform_thread, const Trap& trap) {
    if (cloned) {
      block(self, platform_thread, trap);
      return;
    }
    cloned = true;
    for (Task& task : tasks) {
      task.hook = block;
      auto made = platform_thread.Clone({.share_memory = true, .thread = true}, task);
      ASSERT_TRUE(made.ok());
      task.Run(std::move(*made));
    }
  };
  thread->regs().r13 = nr;
  leader.Run(std::move(thread));
  ASSERT_TRUE(leader.WaitReports(1));
  for (Task& task : tasks) ASSERT_TRUE(task.WaitReports(1));
  meanwhile();
  latch.Open();
  for (Task& task : tasks) {
    ASSERT_TRUE(task.WaitExit());
    EXPECT_EQ(task.reports(), (std::vector<uint64_t>{1, nr}));
  }
  ASSERT_TRUE(leader.WaitExit());
}

TEST_P(Blocking, ManyBlockedThreadsDelayNobodyAndCostNothing) {
  for (const uint64_t nr : {kCallBlock, kCallShort, kCallHook}) {
    Task leader;
    auto first = NewProcess(leader, clone_then_block);
    ASSERT_NE(first, nullptr);
    BlockMany(*this, nr, std::move(first), leader, [&] {
      Task worker;
      int calls = 0;
      worker.hook = [&](Task&, Thread& thread, const Trap&) {
        ++calls;
        thread.SetReturn(0);
      };
      worker.Run(NewProcess(worker, count_calls));
      ASSERT_TRUE(worker.WaitExit());
      EXPECT_EQ(calls, 2000);
      const uint64_t before = ProcessCpuNs();
      const uint64_t guest_before = leader.thread().CpuTimeNs();
      usleep(500000);  // what is measured, not a wait for anything
      EXPECT_LT(ProcessCpuNs() - before, 25'000'000u) << "the sentry is busy while everybody waits";
      EXPECT_LT(leader.thread().CpuTimeNs() - guest_before, 25'000'000u);
    });
  }
}

GUEST_CODE(spin_for_ever, R"(
1: jmp 1b
)");

// Interrupts reach spinning threads while others are blocked, and processor time is accounted to whoever used it.
TEST_P(Blocking, CpuTimeIsAccounted) {
  Task spinner, idler;
  Latch latch;
  idler.hook = [&](Task& self, Thread& thread, const Trap&) {
    self.Report(1);
    latch.Wait(thread);
  };
  idler.Run(NewProcess(idler, count_calls));
  ASSERT_TRUE(idler.WaitReports(1));
  spinner.hook = [&](Task& self, Thread&, const Trap&) { self.Exit(); };
  spinner.Run(NewProcess(spinner, spin_for_ever));
  while (spinner.thread().CpuTimeNs() <= 40'000'000u) std::this_thread::yield();
  EXPECT_LT(idler.thread().CpuTimeNs(), 40'000'000u);
  spinner.thread().Interrupt();
  ASSERT_TRUE(spinner.WaitExit());
  latch.Open();
  ASSERT_TRUE(idler.WaitExit());
}

TEST_P(Blocking, TwoProcessesRunInParallel) {
  // Each waits for the other's word through the sentry: neither could finish alone.
  Task one, two;
  Latch first, second;
  int one_calls = 0, two_calls = 0;
  one.hook = [&](Task&, Thread& thread, const Trap&) {
    if (++one_calls == 1000) first.Open();
    if (one_calls == 1500) second.Wait(thread);
    thread.SetReturn(0);
  };
  two.hook = [&](Task&, Thread& thread, const Trap&) {
    if (++two_calls == 500) first.Wait(thread);
    if (two_calls == 1000) second.Open();
    thread.SetReturn(0);
  };
  one.Run(NewProcess(one, count_calls));
  two.Run(NewProcess(two, count_calls));
  ASSERT_TRUE(one.WaitExit());
  ASSERT_TRUE(two.WaitExit());
  EXPECT_EQ(one_calls, 2000);
  EXPECT_EQ(two_calls, 2000);
}

}  // namespace

GUEST_CODE(block_and_report, R"(
  mov $404, %eax
  syscall
  mov %rax, %rdi
)" CALL_REPORT CALL_EXIT);

// The call is answered by a thread that is not the platform's, or handed to one that is, before or after the handler
// has returned.
TEST_P(Blocking, DeferredCallGoesOn) {
  for (const auto where : {Thread::Where::kHere, Thread::Where::kElsewhere}) {
    for (const bool at_once : {false, true}) {
      Task task;
      auto thread = NewProcess(task, block_and_report);
      ASSERT_NE(thread, nullptr);
      if (!thread->CanDefer()) return;
      std::thread other;
      task.deferred = [&](Thread& deferred) {
        other = std::thread([&deferred, where] { deferred.Proceed(where); });
        if (at_once) other.join();
      };
      task.Run(std::move(thread));
      ASSERT_TRUE(task.WaitExit());
      if (other.joinable()) other.join();
      EXPECT_EQ(task.reports(), std::vector<uint64_t>{Task::kDeferredResult});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Blocking, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
