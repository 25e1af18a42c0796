#include "sentry/mm/memory_manager.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "sentry/mm/testing.h"

namespace sandbox {
namespace {

using platform::MemoryOp;
using testing_mm::FakeThread;
using testing_mm::SelfSpace;
using testing_mm::TestContext;

constexpr uint64_t kPage = kPageSize;
constexpr int kAnon = MAP_PRIVATE | MAP_ANONYMOUS;

// Ops are recorded, not executed, over the usual range of a process.
class MemoryManagerTest : public testing::Test {
 protected:
  GuestAddr Map(uint64_t length, int prot = PROT_READ | PROT_WRITE, int flags = kAnon, GuestAddr hint = {}) {
    auto addr = TryMap(length, prot, flags, hint);
    EXPECT_TRUE(addr.ok()) << addr.error().value();
    Executed();
    return *addr;
  }
  Result<GuestAddr> TryMap(uint64_t length, int prot, int flags, GuestAddr hint = {}) {
    MapRequest request{.hint = hint, .length = length, .prot = prot, .flags = flags};
    return mm_.Map(context_, thread_, request);
  }
  void Executed() {
    ASSERT_TRUE(thread_.FlushMemoryOps().ok());
    mm_.OpsExecuted(thread_);
  }
  std::string Text() {
    std::string text;
    for (const Vma& vma : mm_.List()) {
      text += std::to_string((vma.range.start - base_) / kPage) + "-" + std::to_string((vma.range.end - base_) / kPage);
      text += vma.prot & PROT_WRITE ? "w " : vma.prot & PROT_READ ? "r " : "n ";
    }
    return text;
  }
  GuestAddr At(uint64_t page) { return base_ + page * kPage; }

  TestContext context_;
  RefPtr<SelfSpace> space_ = MakeRef<SelfSpace>();
  FakeThread thread_{space_, /*execute=*/false};
  MemoryManager mm_{space_, {GuestAddr(0x10000), GuestAddr(0x7ffffff00000)}};
  GuestAddr base_{0x10000000};
};

TEST_F(MemoryManagerTest, NeighboursMergeAndSplit) {
  Map(8 * kPage, PROT_READ | PROT_WRITE, kAnon | MAP_FIXED, base_);
  EXPECT_EQ(Text(), "0-8w ");
  ASSERT_TRUE(mm_.Protect(context_, thread_, At(2), 2 * kPage, PROT_READ).ok());
  EXPECT_EQ(Text(), "0-2w 2-4r 4-8w ");
  ASSERT_TRUE(mm_.Unmap(context_, thread_, At(5), kPage).ok());
  EXPECT_EQ(Text(), "0-2w 2-4r 4-5w 6-8w ");
  ASSERT_TRUE(mm_.Protect(context_, thread_, At(2), 2 * kPage, PROT_READ | PROT_WRITE).ok());
  EXPECT_EQ(Text(), "0-5w 6-8w ");
  EXPECT_EQ(mm_.total_bytes(), 7 * kPage);
}

TEST_F(MemoryManagerTest, ArgumentErrors) {
  EXPECT_TRUE(TryMap(0, 0, kAnon).Is(EINVAL));
  EXPECT_TRUE(TryMap(~uint64_t{0}, 0, kAnon).Is(ENOMEM));
  EXPECT_TRUE(TryMap(kPage, 0, kAnon | MAP_FIXED, At(0) + 1).Is(EINVAL));
  EXPECT_TRUE(TryMap(kPage, 0, kAnon | MAP_FIXED, GuestAddr(0)).Is(EPERM));
  EXPECT_TRUE(TryMap(kPage, 0, kAnon | MAP_FIXED, GuestAddr(0x7ffffff00000)).Is(ENOMEM));
  EXPECT_TRUE(mm_.Unmap(context_, thread_, At(0) + 1, kPage).Is(EINVAL));
  EXPECT_TRUE(mm_.Unmap(context_, thread_, At(0), 0).Is(EINVAL));
  EXPECT_TRUE(mm_.Unmap(context_, thread_, GuestAddr(0x7ffffffff000), kPage).Is(EINVAL));
  EXPECT_TRUE(mm_.Unmap(context_, thread_, GuestAddr(0x7ffffff00000), kPage).ok()) << "the platform's part is nobody's";
  EXPECT_TRUE(thread_.queued.empty()) << "nothing was mapped, so the host need not be asked";
  EXPECT_TRUE(mm_.Protect(context_, thread_, At(0), kPage, PROT_READ).Is(ENOMEM));
  EXPECT_TRUE(mm_.Protect(context_, thread_, At(0), ~uint64_t{0}, PROT_READ).Is(ENOMEM));
  EXPECT_TRUE(mm_.Protect(context_, thread_, At(0), kPage, 0x100).Is(EINVAL));
  EXPECT_TRUE(mm_.Remap(context_, thread_, At(0), kPage, kPage, MREMAP_FIXED, At(4)).Is(EINVAL));
  EXPECT_TRUE(mm_.Remap(context_, thread_, At(0), kPage, 0, 0, {}).Is(EINVAL));
  EXPECT_TRUE(mm_.Remap(context_, thread_, At(0), kPage, 2 * kPage, 0, {}).Is(EFAULT));
  EXPECT_TRUE(mm_.Advise(context_, thread_, At(0), kPage, 9999).Is(EINVAL));
  EXPECT_TRUE(mm_.Advise(context_, thread_, At(0), kPage, MADV_DONTNEED).Is(ENOMEM));
}

TEST_F(MemoryManagerTest, ProtectKeepsWhatItDidBeforeAHole) {
  Map(2 * kPage, PROT_READ | PROT_WRITE, kAnon | MAP_FIXED, base_);
  Map(2 * kPage, PROT_READ | PROT_WRITE, kAnon | MAP_FIXED, At(3));
  EXPECT_TRUE(mm_.Protect(context_, thread_, At(0), 5 * kPage, PROT_READ).Is(ENOMEM));
  EXPECT_EQ(Text(), "0-2r 3-5w ");
}

TEST_F(MemoryManagerTest, NoReplaceRefusesAndTopDownFillsGaps) {
  const GuestAddr a = Map(4 * kPage), b = Map(4 * kPage);
  EXPECT_EQ(b + 4 * kPage, a) << "each mapping goes right below the last";
  EXPECT_TRUE(TryMap(kPage, 0, kAnon | MAP_FIXED_NOREPLACE, a + kPage).Is(EEXIST));
  ASSERT_TRUE(mm_.Unmap(context_, thread_, a, kPage).ok());
  Executed();
  EXPECT_EQ(Map(kPage), a) << "the highest hole that fits";
  EXPECT_EQ(Map(kPage, PROT_READ, kAnon, At(7) + 1), At(8)) << "a hint is rounded up";
}

TEST_F(MemoryManagerTest, FreedRangesWaitForTheThreadThatFreedThem) {
  const GuestAddr a = Map(4 * kPage);
  ASSERT_TRUE(mm_.Unmap(context_, thread_, a, 4 * kPage).ok());
  FakeThread other(space_, false);
  MapRequest request{.length = 4 * kPage, .prot = PROT_READ, .flags = kAnon};
  EXPECT_NE(*mm_.Map(context_, other, request), a) << "the late unmap would destroy it";
  request.hint = a;
  request.flags |= MAP_FIXED_NOREPLACE;
  EXPECT_TRUE(mm_.Map(context_, other, request).Is(EEXIST));
  Executed();
  EXPECT_EQ(*mm_.Map(context_, other, request), a);
}

TEST_F(MemoryManagerTest, FailedOpsAreUndone) {
  Map(4 * kPage, PROT_READ | PROT_WRITE, kAnon | MAP_FIXED, base_);
  ASSERT_TRUE(mm_.Unmap(context_, thread_, At(1), kPage).ok());
  ASSERT_TRUE(mm_.Protect(context_, thread_, At(2), kPage, PROT_NONE).ok());
  EXPECT_EQ(Text(), "0-1w 2-3n 3-4w ");
  const MemoryOp failed = thread_.queued[0];  // the unmap, so the protect did not run either
  EXPECT_EQ(mm_.OpFailed(thread_, failed, ENOMEM), -ENOMEM);
  EXPECT_EQ(Text(), "0-4w ");
}

TEST_F(MemoryManagerTest, AFailedBreakAnswersWithTheOldOne) {
  mm_.SetUpBrk(At(0));
  const GuestAddr start = mm_.brk();
  ASSERT_EQ(*mm_.Brk(context_, thread_, start + 3 * kPage), start + 3 * kPage);
  EXPECT_EQ(mm_.OpFailed(thread_, thread_.queued[0], ENOMEM), static_cast<int64_t>(start.value()));
  EXPECT_EQ(mm_.brk(), start);
  EXPECT_TRUE(mm_.List().empty());
}

TEST_F(MemoryManagerTest, BreakGrowsShrinksAndStopsAtNeighbours) {
  mm_.SetUpBrk(At(0));
  const GuestAddr start = mm_.brk();
  EXPECT_EQ(*mm_.Brk(context_, thread_, {}), start);
  EXPECT_EQ(*mm_.Brk(context_, thread_, start + 100), start + 100);
  EXPECT_EQ(mm_.List()[0].label, "[heap]");
  EXPECT_EQ(*mm_.Brk(context_, thread_, start + 5 * kPage), start + 5 * kPage);
  Map(kPage, PROT_READ, kAnon | MAP_FIXED, start + 8 * kPage);
  EXPECT_EQ(*mm_.Brk(context_, thread_, start + 8 * kPage), start + 5 * kPage) << "a page stays free";
  EXPECT_EQ(*mm_.Brk(context_, thread_, start - kPage), start + 5 * kPage);
  EXPECT_EQ(*mm_.Brk(context_, thread_, start), start);
  context_.limits[RLIMIT_DATA] = 2 * kPage;
  EXPECT_EQ(*mm_.Brk(context_, thread_, start + 3 * kPage), start);
}

TEST_F(MemoryManagerTest, Limits) {
  context_.limits[RLIMIT_AS] = 10 * kPage;
  Map(8 * kPage, PROT_READ | PROT_WRITE, kAnon | MAP_FIXED, base_);
  EXPECT_TRUE(TryMap(3 * kPage, PROT_READ, kAnon).Is(ENOMEM));
  EXPECT_TRUE(TryMap(10 * kPage, PROT_READ, kAnon | MAP_FIXED, base_).ok()) << "what is replaced does not count";
  context_.limits[RLIMIT_AS] = ~uint64_t{0};
  context_.limits[RLIMIT_DATA] = 4 * kPage;
  EXPECT_TRUE(mm_.Protect(context_, thread_, At(0), 5 * kPage, PROT_READ | PROT_WRITE).Is(ENOMEM));
  EXPECT_TRUE(mm_.Protect(context_, thread_, At(0), 4 * kPage, PROT_READ | PROT_WRITE).ok());
  context_.DropPrivileges();
  context_.limits[RLIMIT_MEMLOCK] = 2 * kPage;
  EXPECT_TRUE(mm_.Lock(context_, thread_, At(0), 3 * kPage, false).Is(ENOMEM));
  EXPECT_TRUE(mm_.Lock(context_, thread_, At(0), 2 * kPage, false).ok());
  EXPECT_TRUE(mm_.Lock(context_, thread_, At(0), 2 * kPage, false).ok()) << "locking again costs nothing";
  EXPECT_TRUE(TryMap(kPage, PROT_READ, kAnon | MAP_LOCKED).Is(EAGAIN));
  context_.limits[RLIMIT_MEMLOCK] = 0;
  EXPECT_TRUE(mm_.Lock(context_, thread_, At(0), kPage, false).Is(EPERM));
}

TEST_F(MemoryManagerTest, MapCountIsBounded) {
  for (uint64_t i = 0; i < MemoryManager::kMaxMappings; ++i) {
    auto addr = TryMap(kPage, PROT_READ, kAnon | MAP_FIXED, At(2 * i));
    ASSERT_TRUE(addr.ok()) << i;
    thread_.queued.clear();
    mm_.OpsExecuted(thread_);
  }
  EXPECT_TRUE(TryMap(kPage, PROT_READ, kAnon).Is(ENOMEM));
  EXPECT_TRUE(mm_.Unmap(context_, thread_, At(0), kPage).ok());
  EXPECT_TRUE(TryMap(kPage, PROT_READ, kAnon).ok());
}

TEST_F(MemoryManagerTest, StacksGrowAsFarAsTheLimitAndTheGuardGapAllow) {
  Map(4 * kPage, PROT_READ | PROT_WRITE, kAnon | MAP_FIXED | MAP_GROWSDOWN, At(1000));
  context_.limits[RLIMIT_STACK] = 400 * kPage;
  EXPECT_TRUE(mm_.GrowStack(context_, thread_, At(900) + 123));
  EXPECT_EQ(Text(), "900-1004w ");
  EXPECT_FALSE(mm_.GrowStack(context_, thread_, At(500))) << "over the limit";
  Map(kPage, PROT_READ, kAnon | MAP_FIXED, At(600));
  EXPECT_FALSE(mm_.GrowStack(context_, thread_, At(700))) << "into the guard gap";
  EXPECT_TRUE(mm_.GrowStack(context_, thread_, At(857)));
  EXPECT_FALSE(mm_.GrowStack(context_, thread_, At(857))) << "mapped already";
}

TEST_F(MemoryManagerTest, ForkHonoursAdvice) {
  Map(6 * kPage, PROT_READ | PROT_WRITE, kAnon | MAP_FIXED, base_);
  ASSERT_TRUE(mm_.Advise(context_, thread_, At(0), kPage, MADV_DONTFORK).ok());
  ASSERT_TRUE(mm_.Advise(context_, thread_, At(2), kPage, MADV_WIPEONFORK).ok());
  ASSERT_TRUE(mm_.Lock(context_, thread_, At(4), kPage, false).ok());
  FakeThread child(space_, false);
  const auto copy = mm_.Fork(space_, &child);
  ASSERT_EQ(child.queued.size(), 2u);
  EXPECT_EQ(child.queued[0].kind, MemoryOp::Kind::kUnmap);
  EXPECT_EQ(child.queued[0].range, (GuestRange{At(0), At(1)}));
  EXPECT_EQ(child.queued[1].kind, MemoryOp::Kind::kMapAnonymous);
  EXPECT_EQ(child.queued[1].range, (GuestRange{At(2), At(3)}));
  EXPECT_FALSE(copy->Find(At(0)));
  EXPECT_FALSE(copy->Find(At(4))->locked);
  EXPECT_EQ(mm_.total_bytes(), 6 * kPage);
  EXPECT_EQ(copy->total_bytes(), 5 * kPage);
}

TEST_F(MemoryManagerTest, RemapMovesGrowsAndDuplicates) {
  Map(4 * kPage, PROT_READ | PROT_WRITE, kAnon | MAP_FIXED, base_);
  EXPECT_EQ(*mm_.Remap(context_, thread_, At(0), 4 * kPage, 6 * kPage, 0, {}), At(0));
  EXPECT_EQ(Text(), "0-6w ");
  EXPECT_EQ(*mm_.Remap(context_, thread_, At(0), 6 * kPage, 2 * kPage, 0, {}), At(0));
  EXPECT_EQ(Text(), "0-2w ");
  Map(kPage, PROT_READ, kAnon | MAP_FIXED, At(2));
  EXPECT_TRUE(mm_.Remap(context_, thread_, At(0), 2 * kPage, 3 * kPage, 0, {}).Is(ENOMEM));
  const int to = MREMAP_MAYMOVE | MREMAP_FIXED;
  EXPECT_EQ(*mm_.Remap(context_, thread_, At(0), 2 * kPage, 3 * kPage, to, At(10)), At(10));
  EXPECT_EQ(Text(), "2-3r 10-13w ");
  EXPECT_EQ(*mm_.Remap(context_, thread_, At(10), 3 * kPage, 3 * kPage, MREMAP_MAYMOVE | 4, At(20)), At(20));
  EXPECT_EQ(Text(), "2-3r 10-13w 20-23w ") << "MREMAP_DONTUNMAP leaves an empty mapping behind";
  EXPECT_TRUE(mm_.Remap(context_, thread_, At(10), 0, kPage, MREMAP_MAYMOVE, {}).Is(EINVAL)) << "private";
}

TEST_F(MemoryManagerTest, AccessOutsideTheGuestsRangeFaults) {
  char byte;
  EXPECT_TRUE(mm_.Read(GuestAddr(0x7ffffff00000), &byte, 1).Is(EFAULT));
  EXPECT_TRUE(mm_.Read(GuestAddr(~uint64_t{0}), &byte, 1).Is(EFAULT));
  EXPECT_TRUE(mm_.Write(GuestAddr(0), &byte, 1).Is(EFAULT));
}

}  // namespace
}  // namespace sandbox
