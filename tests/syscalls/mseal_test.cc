// mseal(2), and guard pages of madvise(2).
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

#ifndef __NR_mseal
#define __NR_mseal 462
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

namespace guest {
namespace {

long Seal(const void* at, size_t length, unsigned long flags = 0) { return syscall(__NR_mseal, at, length, flags); }

// Sealed memory stays until the process ends: each case is a child.
template <typename F>
void InChild(F body) {
  EXPECT_EQ(RunInChild([&] {
              body();
              return testing::Test::HasFailure() ? 1 : 0;
            }),
            0);
}

TEST(MsealTest, Arguments) {
  InChild([] {
    Mapping memory(4);
    EXPECT_ERRNO(EINVAL, Seal(memory.page(), kPage, 1));
    EXPECT_ERRNO(EINVAL, Seal(memory.page() + 1, kPage));
    EXPECT_ERRNO(EINVAL, Seal(memory.page(), ~0ul));
    EXPECT_OK(Seal(memory.page(), 0));
    ASSERT_OK(munmap(memory.page(2), kPage));
    EXPECT_ERRNO(ENOMEM, Seal(memory.page(), 4 * kPage));
    EXPECT_OK(munmap(memory.page(), kPage));
    _exit(testing::Test::HasFailure());
  });
}

TEST(MsealTest, TheMappingStays) {
  InChild([] {
    char* const at =
        static_cast<char*>(mmap(nullptr, 5 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_OK(Seal(at + kPage, kPage));
    EXPECT_OK(Seal(at + kPage, kPage)) << "again";
    EXPECT_ERRNO(EPERM, munmap(at, 2 * kPage));
    EXPECT_ERRNO(EPERM, munmap(at + kPage, kPage));
    EXPECT_ERRNO(EPERM, mprotect(at + kPage, kPage, PROT_READ));
    EXPECT_EQ(mmap(at + kPage, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), MAP_FAILED);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(mremap(at + kPage, kPage, 2 * kPage, MREMAP_MAYMOVE), MAP_FAILED);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(mremap(at + 3 * kPage, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, at + kPage), MAP_FAILED);
    EXPECT_EQ(errno, EPERM);
    at[0] = at[kPage] = at[4 * kPage] = 'x';
    EXPECT_OK(munmap(at, kPage)) << "its neighbours are as before";
    EXPECT_OK(mprotect(at + 2 * kPage, kPage, PROT_READ));
    EXPECT_EQ(at[kPage], 'x');
  });
}

TEST(MsealTest, DiscardingNeedsTheRightToWrite) {
  InChild([] {
    char* const at =
        static_cast<char*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    at[0] = at[kPage] = 'x';
    ASSERT_OK(mprotect(at + kPage, kPage, PROT_READ));
    ASSERT_OK(Seal(at, 2 * kPage));
    EXPECT_OK(madvise(at, kPage, MADV_DONTNEED));
    EXPECT_EQ(at[0], 0);
    EXPECT_ERRNO(EPERM, madvise(at + kPage, kPage, MADV_DONTNEED));
    EXPECT_ERRNO(EPERM, madvise(at + kPage, kPage, MADV_DONTFORK));
    EXPECT_OK(madvise(at + kPage, kPage, MADV_WILLNEED));
    EXPECT_EQ(at[kPage], 'x');
  });
}

TEST(MsealTest, ForkInherits) {
  InChild([] {
    char* const at = static_cast<char*>(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_OK(Seal(at, kPage));
    EXPECT_EQ(RunInChild([&] { return munmap(at, kPage) == -1 && errno == EPERM ? 0 : 1; }), 0);
  });
}

TEST(MsealTest, PartOfAProtectionChange) {
  InChild([] {
    char* const at =
        static_cast<char*>(mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_OK(Seal(at + kPage, kPage));
    EXPECT_ERRNO(EPERM, mprotect(at, 3 * kPage, PROT_READ));
    EXPECT_EQ(SignalOfWrite(at), SIGSEGV) << "what lies before it was changed";
    EXPECT_EQ(SignalOfWrite(at + kPage), 0);
    EXPECT_EQ(SignalOfWrite(at + 2 * kPage), 0);
  });
}

TEST(GuardPageTest, InstallAndRemove) {
  Mapping memory(3);
  memory.page(1)[0] = 'x';
  ASSERT_OK(madvise(memory.page(1), kPage, MADV_GUARD_INSTALL));
  EXPECT_EQ(SignalOfRead(memory.page(1)), SIGSEGV);
  EXPECT_EQ(SignalOfWrite(memory.page(1)), SIGSEGV);
  EXPECT_EQ(SignalOfWrite(memory.page(2)), 0);
  ASSERT_OK(madvise(memory.page(), 3 * kPage, MADV_GUARD_REMOVE));
  EXPECT_EQ(memory.page(1)[0], 0) << "its contents went";
  Mapping locked(1);
  if (mlock(locked.page(), kPage) == 0) {
    EXPECT_ERRNO(EINVAL, madvise(locked.page(), kPage, MADV_GUARD_INSTALL));
  }
}

}  // namespace
}  // namespace guest
