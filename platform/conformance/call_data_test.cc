// Data that travels with a call: inputs that come along, results that go with the answer (Thread::ReadInput).
#include <sys/mman.h>

#include <cstring>
#include <string>

#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

// The short call takes along 8 bytes at argument 0, and argument 2 times 16 bytes at argument 1; the blocking one a
// string at argument 0 (harness.cc).
constexpr uint64_t kWord = kDataAddr, kArray = kDataAddr + 0x100, kResults = kDataAddr + 0x1000;

// One short call, whose result and the word at kResults are reported.
#define CALL_WITH_DATA                                                                                 \
  "mov $0x600000, %edi\nmov $0x600100, %esi\nmov $2, %edx\n" CALL_SHORT "mov %rax, %rdi\n" CALL_REPORT \
  "mov 0x601000, %rdi\n" CALL_REPORT
GUEST_CODE(data_call, CALL_WITH_DATA CALL_EXIT);
GUEST_CODE(data_calls, CALL_WITH_DATA CALL_WITH_DATA CALL_EXIT);
GUEST_CODE(string_call, "mov $0x600ffc, %edi\n" CALL_BLOCK CALL_EXIT);

class CallData : public PlatformTest {
 protected:
  // Runs `code`, whose short calls `serve` serves.
  std::vector<uint64_t> Run(std::string_view code, std::function<void(Thread&)> serve) {
    Task task;
    task.hook = [&](Task& self, Thread& thread, const Trap& trap) {
      if (trap.kind != Trap::Kind::kSyscall) return self.Exit();
      serve(thread);
    };
    auto thread = NewProcess(task, code);
    WriteWord(*thread, kWord, 0x1122334455667788);
    for (uint64_t i = 0; i < 4; ++i) WriteWord(*thread, kArray + 8 * i, i + 1);
    task.Run(std::move(thread));
    EXPECT_TRUE(task.WaitExit());
    return task.reports();
  }
};

// As the sentry does it: with the answer where that is possible, else at once. Tells which.
bool Put(Thread& thread, uint64_t to, const void* from, size_t size) {
  if (char* const room = thread.ReserveOutput(size)) {
    std::memcpy(room, from, size);
    thread.CommitOutput(GuestAddr(to), size);
    return true;
  }
  thread.SettleCallData();
  const auto put = thread.address_space()->Write(GuestAddr(to), from, size);
  EXPECT_TRUE(put.ok() && *put == size);
  return false;
}

bool PutWord(Thread& thread, uint64_t to, uint64_t word) { return Put(thread, to, &word, sizeof(word)); }

#ifdef FAST_CALLS
constexpr bool kTravels = true;
#else
constexpr bool kTravels = false;
#endif

TEST_P(CallData, InputsAreWhatMemoryHolds) {
  Run(data_call, [](Thread& thread) {
    uint64_t word = 0, array[4] = {};
    ASSERT_EQ(thread.ReadInput(GuestAddr(kWord), &word, sizeof(word)), kTravels);
    ASSERT_EQ(thread.ReadInput(GuestAddr(kArray), array, sizeof(array)), kTravels);
    if (kTravels) {
      EXPECT_EQ(word, 0x1122334455667788u);
      EXPECT_EQ(array[3], 4u);
      EXPECT_TRUE(thread.ReadInput(GuestAddr(kArray + 8), array, 16));
      EXPECT_EQ(array[0], 2u);
    }
    EXPECT_FALSE(thread.ReadInput(GuestAddr(kWord - 1), &word, 1));
    EXPECT_FALSE(thread.ReadInput(GuestAddr(kWord + 1), &word, 8));
    EXPECT_FALSE(thread.ReadInput(GuestAddr(kArray), array, 33));
    EXPECT_FALSE(thread.ReadInput(GuestAddr(kArray + 32), array, 1));
    thread.SettleCallData();
    EXPECT_FALSE(thread.ReadInput(GuestAddr(kWord), &word, sizeof(word)));
    thread.SetReturn(0);
  });
}

TEST_P(CallData, StringsEndWithTheirPage) {
  Task task;
  task.hook = [&](Task&, Thread& thread, const Trap&) {
    char text[5] = {};
    EXPECT_EQ(thread.ReadInput(GuestAddr(kDataAddr + 0xffc), text, 4), kTravels);
    EXPECT_FALSE(thread.ReadInput(GuestAddr(kDataAddr + 0xffc), text, 5));
    EXPECT_STREQ(text, kTravels ? "abc" : "");
    thread.SetReturn(0);
  };
  auto thread = NewProcess(task, string_call);
  ASSERT_TRUE(thread->address_space()->Write(GuestAddr(kDataAddr + 0xffc), "abc", 4).ok());
  task.Run(std::move(thread));
  ASSERT_TRUE(task.WaitExit());
}

TEST_P(CallData, InputsThatCannotBeReadAreNotThere) {
  int calls = 0;
  const auto reports = Run(data_calls, [&](Thread& thread) {
    uint64_t word = 0;
    EXPECT_EQ(thread.ReadInput(GuestAddr(kWord), &word, sizeof(word)), kTravels && calls == 0);
    EXPECT_EQ(thread.ReadInput(GuestAddr(kArray), &word, sizeof(word)), kTravels && calls == 0);
    if (++calls == 1) {
      if (!thread.has_registers()) thread.BeginBlock(), thread.EndBlock();
      thread.QueueMemoryOp(Protect(kDataAddr, kPageSize, PROT_NONE));
    }
    thread.SetReturn(calls);
  });
  EXPECT_EQ(reports, (std::vector<uint64_t>{1, 0, 2, 0}));
}

TEST_P(CallData, ResultsArriveInOrder) {
  const auto reports = Run(data_calls, [](Thread& thread) {
    for (uint64_t i = 0; i < 20; ++i) PutWord(thread, kResults + i % 3, i);
    EXPECT_EQ(PutWord(thread, kResults, 0x77), false);  // more than the answer holds: all are there
    thread.SetReturn(5);
  });
  EXPECT_EQ(reports, (std::vector<uint64_t>{5, 0x77, 5, 0x77}));
}

TEST_P(CallData, ResultsTravelWithTheAnswer) {
  const auto reports = Run(data_calls, [](Thread& thread) {
    const uint64_t before = ReadWord(thread, kResults);
    EXPECT_EQ(PutWord(thread, kResults, before + 1), kTravels);
    EXPECT_EQ(ReadWord(thread, kResults), before + (kTravels ? 0 : 1));
    thread.SetReturn(5);
  });
  EXPECT_EQ(reports, (std::vector<uint64_t>{5, 1, 5, 2}));
}

TEST_P(CallData, LargeResultsAndTooLargeOnes) {
  std::string large(20'000, 'x');
  Run(data_calls, [&](Thread& thread) {
    EXPECT_EQ(Put(thread, kResults, large.data(), large.size()), kTravels);
    EXPECT_EQ(thread.ReserveOutput(1 << 20), nullptr);
    Put(thread, kResults + 20'000, large.data(), large.size());
    Put(thread, kResults + 500, large.data(), large.size());
    thread.SetReturn(0);
  });
}

TEST_P(CallData, ResultThatMeetsAHoleFailsTheCall) {
  int calls = 0;
  const auto reports = Run(data_calls, [&](Thread& thread) {
    thread.SetReturn(5);
    if (++calls == 2) return;
    if (char* const room = thread.ReserveOutput(16)) {
      std::memset(room, 1, 16);
      thread.CommitOutput(GuestAddr(kStackTop - 8), 16);
    } else {
      thread.SetReturn(-EFAULT);
    }
    PutWord(thread, kResults, 9);  // what comes after it arrives
  });
  EXPECT_EQ(reports, (std::vector<uint64_t>{static_cast<uint64_t>(-EFAULT), 9, 5, 9}));
}

TEST_P(CallData, SettledResultThatMeetsAHoleFailsTheCall) {
  const auto reports = Run(data_call, [&](Thread& thread) {
    char* const room = thread.ReserveOutput(16);
    if (room != nullptr) thread.CommitOutput(GuestAddr(kFreeAddr), 16);
    thread.SettleCallData();
    thread.SetReturn(room != nullptr ? 5 : -EFAULT);
  });
  EXPECT_EQ(reports, (std::vector<uint64_t>{static_cast<uint64_t>(-EFAULT), 0}));
}

TEST_P(CallData, SettledByWhateverLooksAtTheThread) {
  const std::vector<std::function<void(Thread&)>> looks = {
      [](Thread& thread) { thread.SettleCallData(); },
      [](Thread& thread) {
        thread.BeginBlock();
        EXPECT_EQ(ReadWord(thread, kResults), 3u);
        thread.EndBlock();
      },
      [](Thread& thread) {
        if (!thread.has_registers()) return;
        thread.regs().rbx = 1;
      },
      [](Thread& thread) { EXPECT_TRUE(thread.address_space()->CompareExchange(GuestAddr(kResults), 3, 3).ok()); },
      [](Thread& thread) {
        if (!thread.has_registers()) return;
        Task child;
        auto made = thread.Clone({}, child);
        ASSERT_TRUE(made.ok());
        EXPECT_EQ(ReadWord(**made, kResults), 3u);
        (*made)->Exit();
      },
      [](Thread& thread) {
        thread.QueueMemoryOp(Protect(kDataAddr, kPageSize, PROT_READ));
        EXPECT_EQ(thread.ReserveOutput(8), nullptr);  // it might need the op
        EXPECT_TRUE(thread.FlushMemoryOps().ok());
      },
  };
  for (const auto& look : looks) {
    const auto reports = Run(data_call, [&](Thread& thread) {
      PutWord(thread, kResults, 3);
      look(thread);
      EXPECT_EQ(ReadWord(thread, kResults), 3u);
      thread.SetReturn(0);
    });
    EXPECT_EQ(reports, (std::vector<uint64_t>{0, 3}));
  }
}

// The result is written before the mapping goes, which is what the order of the calls says.
TEST_P(CallData, ResultsComeBeforeMemoryOps) {
  const auto reports = Run(data_call, [](Thread& thread) {
    PutWord(thread, kResults, 4);
    thread.QueueMemoryOp(Protect(kResults, kPageSize, PROT_READ));
    thread.SetReturn(0);
  });
  EXPECT_EQ(reports, (std::vector<uint64_t>{0, 4}));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, CallData, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
