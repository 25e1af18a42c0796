// Memory operations and access to guest memory.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

GUEST_CODE(one_call, CALL_HOOK CALL_EXIT);

class Memory : public PlatformTest {
 protected:
  // Runs `body` while a thread is stopped in a call, then ends it.
  void WhileStopped(std::function<void(Thread&)> body) {
    Task task;
    task.hook = [&](Task& self, Thread& thread, const Trap&) {
      body(thread);
      self.Exit();
    };
    task.Run(NewProcess(task, one_call));
    ASSERT_TRUE(task.WaitExit());
  }
};

Result<size_t> Read(Thread& thread, uint64_t at, void* to, size_t size) {
  return thread.address_space()->Read(GuestAddr(at), to, size);
}

TEST_P(Memory, ReadsAndWritesArePartialAtAHole) {
  WhileStopped([](Thread& thread) {
    thread.QueueMemoryOp(MapAnonymous(kFreeAddr, 2 * kPageSize, PROT_READ | PROT_WRITE));
    ASSERT_TRUE(thread.FlushMemoryOps().ok());
    std::vector<char> buffer(4 * kPageSize, 'x');
    const auto wrote = thread.address_space()->Write(GuestAddr(kFreeAddr + 100), buffer.data(), buffer.size());
    ASSERT_TRUE(wrote.ok());
    EXPECT_EQ(*wrote, 2 * kPageSize - 100);
    const auto read = Read(thread, kFreeAddr, buffer.data(), buffer.size());
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(*read, 2 * kPageSize);
    EXPECT_EQ(buffer[99], 0);
    EXPECT_EQ(buffer[100], 'x');
    EXPECT_TRUE(Read(thread, kFreeAddr + 2 * kPageSize, buffer.data(), 1).Is(EFAULT));
    EXPECT_TRUE(Read(thread, 0, buffer.data(), 1).Is(EFAULT));
    EXPECT_TRUE(Read(thread, ~uint64_t{0} - 5, buffer.data(), 100).Is(EFAULT));
    EXPECT_TRUE(Read(thread, 0xffff800000000000, buffer.data(), 8).Is(EFAULT));
  });
}

TEST_P(Memory, AccessHonoursProtections) {
  WhileStopped([](Thread& thread) {
    char byte = 1;
    EXPECT_TRUE(thread.address_space()->Write(GuestAddr(kCodeAddr), &byte, 1).Is(EFAULT));
    thread.QueueMemoryOp(MapAnonymous(kFreeAddr, kPageSize, PROT_NONE));
    ASSERT_TRUE(thread.FlushMemoryOps().ok());
    EXPECT_TRUE(Read(thread, kFreeAddr, &byte, 1).Is(EFAULT));
    thread.QueueMemoryOp(Protect(kFreeAddr, kPageSize, PROT_READ));
    ASSERT_TRUE(thread.FlushMemoryOps().ok());
    EXPECT_TRUE(Read(thread, kFreeAddr, &byte, 1).ok());
    EXPECT_EQ(byte, 0);
  });
}

TEST_P(Memory, PlatformPagesAreOutOfReach) {
  const GuestRange range = platform().guest_range();
  EXPECT_LE(range.start.value(), uint64_t{0x10000});
  EXPECT_GT(range.end.value(), uint64_t{0x7f0000000000});
  WhileStopped([&](Thread& thread) {
    std::vector<char> page(kPageSize);
    for (uint64_t at = range.end.value(); at < 0x7ffffffff000; at += kPageSize) {
      EXPECT_FALSE(thread.address_space()->Write(GuestAddr(at), page.data(), page.size()).ok());
    }
  });
}

TEST_P(Memory, FilePrivateAndShared) {
  const UniqueFd fd = MakeFile(4, 0x10);
  WhileStopped([&](Thread& thread) {
    const uint64_t second = kFreeAddr + 16 * kPageSize;
    thread.QueueMemoryOp(MapFile(kFreeAddr, 2 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get(), kPageSize));
    thread.QueueMemoryOp(MapFile(second, 4 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get()));
    ASSERT_TRUE(thread.FlushMemoryOps().ok());
    EXPECT_EQ(ReadWord(thread, kFreeAddr), 0x1111111111111111u);
    EXPECT_EQ(ReadWord(thread, kFreeAddr + kPageSize), 0x1212121212121212u);
    WriteWord(thread, kFreeAddr, 1);
    WriteWord(thread, second + 3 * kPageSize, 2);
    uint64_t word = 0;
    ASSERT_EQ(pread(fd.get(), &word, 8, kPageSize), 8);
    EXPECT_EQ(word, 0x1111111111111111u) << "a private write reached the file";
    ASSERT_EQ(pread(fd.get(), &word, 8, 3 * kPageSize), 8);
    EXPECT_EQ(word, 2u) << "a shared write did not reach the file";
  });
}

// More different files than go into one message, with other operations between them.
TEST_P(Memory, LongListsWithManyFiles) {
  std::vector<UniqueFd> files;
  for (int i = 0; i < 40; ++i) files.push_back(MakeFile(1, static_cast<uint8_t>(i)));
  WhileStopped([&](Thread& thread) {
    for (uint64_t i = 0; i < 400; ++i) {
      const uint64_t at = kFreeAddr + i * 2 * kPageSize;
      if (i % 10 == 0) {
        thread.QueueMemoryOp(MapFile(at, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, files[i / 10].get()));
      } else {
        thread.QueueMemoryOp(MapAnonymous(at, kPageSize, PROT_READ | PROT_WRITE));
      }
      if (i % 7 == 0) thread.QueueMemoryOp(Protect(at, kPageSize, PROT_READ));
    }
    ASSERT_TRUE(thread.FlushMemoryOps().ok());
    for (uint64_t i = 0; i < 400; ++i) {
      uint8_t byte = 0xff;
      ASSERT_TRUE(Read(thread, kFreeAddr + i * 2 * kPageSize, &byte, 1).ok()) << i;
      EXPECT_EQ(byte, i % 10 == 0 ? i / 10 : 0) << i;
    }
  });
}

TEST_P(Memory, MoveGrowShrink) {
  WhileStopped([](Thread& thread) {
    const uint64_t target = kFreeAddr + 64 * kPageSize;
    thread.QueueMemoryOp(MapAnonymous(kFreeAddr, 4 * kPageSize, PROT_READ | PROT_WRITE));
    ASSERT_TRUE(thread.FlushMemoryOps().ok());
    WriteWord(thread, kFreeAddr, 99);
    MemoryOp move;
    move.kind = MemoryOp::Kind::kMove;
    move.range = {GuestAddr(kFreeAddr), GuestAddr(kFreeAddr + 4 * kPageSize)};
    move.target = {GuestAddr(target), GuestAddr(target + 8 * kPageSize)};
    thread.QueueMemoryOp(move);
    ASSERT_TRUE(thread.FlushMemoryOps().ok());
    EXPECT_EQ(ReadWord(thread, target), 99u);
    EXPECT_EQ(ReadWord(thread, target + 7 * kPageSize), 0u);
    char byte;
    EXPECT_TRUE(Read(thread, kFreeAddr, &byte, 1).Is(EFAULT));
    move.range = {GuestAddr(target), GuestAddr(target + 8 * kPageSize)};
    move.target = {GuestAddr(target), GuestAddr(target + kPageSize)};
    thread.QueueMemoryOp(move);
    ASSERT_TRUE(thread.FlushMemoryOps().ok());
    EXPECT_TRUE(Read(thread, target + kPageSize, &byte, 1).Is(EFAULT));
  });
}

TEST_P(Memory, AdviceDropsPages) {
  WhileStopped([](Thread& thread) {
    WriteWord(thread, kDataAddr, 5);
    MemoryOp advise;
    advise.kind = MemoryOp::Kind::kAdvise;
    advise.range = {GuestAddr(kDataAddr), GuestAddr(kDataAddr + kPageSize)};
    advise.flags = MADV_DONTNEED;
    thread.QueueMemoryOp(advise);
    ASSERT_TRUE(thread.FlushMemoryOps().ok());
    EXPECT_EQ(ReadWord(thread, kDataAddr), 0u);
  });
}

TEST_P(Memory, FlushReportsFailureAndDropsTheRest) {
  WhileStopped([](Thread& thread) {
    thread.QueueMemoryOp(MapAnonymous(kFreeAddr, kPageSize, PROT_READ));
    thread.QueueMemoryOp(Protect(kFreeAddr + 8 * kPageSize, kPageSize, PROT_READ));  // nothing there
    thread.QueueMemoryOp(Unmap(kFreeAddr, kPageSize));
    EXPECT_TRUE(thread.FlushMemoryOps().Is(ENOMEM));
    char byte;
    EXPECT_TRUE(Read(thread, kFreeAddr, &byte, 1).ok());
    EXPECT_TRUE(thread.FlushMemoryOps().ok());
  });
}

TEST_P(Memory, RefusedFileMappingReportsErrno) {
  const UniqueFd writable = MakeFile(1, 1);
  const UniqueFd readonly(open(("/proc/self/fd/" + std::to_string(writable.get())).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(readonly.valid());
  WhileStopped([&](Thread& thread) {
    thread.QueueMemoryOp(MapFile(kFreeAddr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, readonly.get()));
    EXPECT_TRUE(thread.FlushMemoryOps().Is(EACCES));
    // And the next transfer is not confused by it.
    thread.QueueMemoryOp(MapFile(kFreeAddr, kPageSize, PROT_READ, MAP_SHARED, readonly.get()));
    EXPECT_TRUE(thread.FlushMemoryOps().ok());
  });
}

// Queued operations that fail on the way back to the guest come as a trap of their own.
TEST_P(Memory, QueuedFailureIsATrap) {
  Task task;
  std::vector<Trap> failures;
  task.hook = [&](Task& self, Thread& thread, const Trap& trap) {
    if (trap.kind == Trap::Kind::kSyscall) {
      thread.QueueMemoryOp(MapAnonymous(kFreeAddr, kPageSize, PROT_READ));
      thread.QueueMemoryOp(Protect(kFreeAddr + 8 * kPageSize, kPageSize, PROT_READ));
      thread.QueueMemoryOp(Unmap(kFreeAddr, kPageSize));
      return;
    }
    failures.push_back(trap);
    char byte;
    EXPECT_TRUE(Read(thread, kFreeAddr, &byte, 1).ok());
    self.Exit();
  };
  task.Run(NewProcess(task, one_call));
  ASSERT_TRUE(task.WaitExit());
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].kind, Trap::Kind::kMemoryOpFailed);
  EXPECT_EQ(failures[0].failed_errno, ENOMEM);
  EXPECT_EQ(failures[0].failed_op.kind, MemoryOp::Kind::kProtect);
}

TEST_P(Memory, CompareExchange) {
  WhileStopped([](Thread& thread) {
    AddressSpace& memory = *thread.address_space();
    WriteWord(thread, kDataAddr, 5);
    auto got = memory.CompareExchange(GuestAddr(kDataAddr), 5, 9);
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(*got, 5u);
    got = memory.CompareExchange(GuestAddr(kDataAddr), 5, 10);
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(*got, 9u);
    EXPECT_EQ(ReadWord(thread, kDataAddr), 9u);
    EXPECT_TRUE(memory.CompareExchange(GuestAddr(kFreeAddr), 0, 1).Is(EFAULT));
    EXPECT_TRUE(memory.CompareExchange(GuestAddr(kCodeAddr), 0, 1).Is(EFAULT));
    EXPECT_TRUE(memory.CompareExchange(GuestAddr(0xffff800000000000), 0, 1).Is(EFAULT));
  });
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, Memory, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
