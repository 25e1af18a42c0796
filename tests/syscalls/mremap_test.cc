// mremap(2).
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

namespace guest {
namespace {

constexpr int kFixed = MREMAP_MAYMOVE | MREMAP_FIXED;

TEST(MremapTest, GrowsShrinksAndMoves) {
  Mapping memory(4), target(2);
  memory.page(1)[0] = 'm';
  EXPECT_EQ(mremap(memory.page(), 4 * kPage, 2 * kPage, 0), memory.page());
  EXPECT_EQ(SignalOfRead(memory.page(2)), SIGSEGV);
  auto* moved = static_cast<char*>(mremap(memory.page(), 2 * kPage, 64 * kPage, MREMAP_MAYMOVE));
  ASSERT_NE(moved, MAP_FAILED);
  EXPECT_EQ(moved[kPage], 'm');
  EXPECT_EQ(moved[63 * kPage], 0);
  EXPECT_EQ(mremap(moved, 2 * kPage, 2 * kPage, kFixed, target.page()), target.page());
  EXPECT_EQ(target.page(1)[0], 'm');
  EXPECT_EQ(SignalOfRead(moved), SIGSEGV);
  EXPECT_OK(munmap(moved, 64 * kPage));
}

TEST(MremapTest, Errors) {
  Mapping memory(4), other(2);
  char* at = memory.page();
  EXPECT_ERRNO(EINVAL, Address(mremap(at + 1, kPage, kPage, 0)));
  EXPECT_ERRNO(EINVAL, Address(mremap(at, kPage, 0, 0)));
  EXPECT_ERRNO(EINVAL, Address(mremap(at, kPage, kPage, 0x100)));
  EXPECT_ERRNO(EINVAL, Address(mremap(at, kPage, kPage, MREMAP_FIXED, other.page())));
  EXPECT_ERRNO(EINVAL, Address(mremap(at, kPage, kPage, kFixed, other.page() + 1)));
  EXPECT_ERRNO(EINVAL, Address(mremap(at, 2 * kPage, 2 * kPage, kFixed, at + kPage))) << "overlap";
  EXPECT_ERRNO(EINVAL, Address(mremap(at, kPage, kPage, kFixed, reinterpret_cast<void*>(~0xfffL))));
  EXPECT_ERRNO(EINVAL, Address(mremap(at, 0, kPage, MREMAP_MAYMOVE))) << "private memory has no twin";
  EXPECT_ERRNO(EINVAL, Address(mremap(at, kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr)));
  EXPECT_ERRNO(EINVAL, Address(mremap(at, kPage, kPage, MREMAP_DONTUNMAP, nullptr)));
  EXPECT_ERRNO(EFAULT, Address(mremap(reinterpret_cast<void*>(kPage), kPage, 2 * kPage, MREMAP_MAYMOVE)));
  EXPECT_ERRNO(ENOMEM, Address(mremap(at, kPage, 2 * kPage, 0))) << "no room in place";
  EXPECT_ERRNO(ENOMEM, Address(mremap(at, kPage, size_t{1} << 46, MREMAP_MAYMOVE)));
  EXPECT_EQ(mremap(at, kPage, kPage, 0), at);
  EXPECT_EQ(SignalOfWrite(at), 0);
}

TEST(MremapTest, GrowingTakesOneMapping) {
  Mapping memory(4);
  ASSERT_OK(mprotect(memory.page(1), kPage, PROT_READ));
  EXPECT_ERRNO(EFAULT, Address(mremap(memory.page(), 2 * kPage, 8 * kPage, MREMAP_MAYMOVE)));
  EXPECT_EQ(mremap(memory.page(), 4 * kPage, kPage, 0), memory.page()) << "cutting may span several";
  EXPECT_EQ(SignalOfRead(memory.page(1)), SIGSEGV);
}

TEST(MremapTest, GrowsInPlaceWhereThereIsRoom) {
  Mapping memory(8);
  ASSERT_OK(munmap(memory.page(2), 6 * kPage));
  memory.page(1)[5] = 'x';
  EXPECT_EQ(mremap(memory.page(), 2 * kPage, 8 * kPage, 0), memory.page());
  EXPECT_EQ(memory.page(1)[5], 'x');
  EXPECT_EQ(SignalOfWrite(memory.page(7)), 0);
}

TEST(MremapTest, TheTargetIsReplaced) {
  Mapping memory(1), target(3);
  memory.page()[0] = 'm';
  target.page(1)[0] = 't';
  EXPECT_EQ(mremap(memory.page(), kPage, kPage, kFixed, target.page(1)), target.page(1));
  EXPECT_EQ(target.page(1)[0], 'm');
  EXPECT_EQ(SignalOfRead(memory.page()), SIGSEGV);
}

TEST(MremapTest, DontUnmapLeavesAnEmptyMapping) {
  Mapping memory(2);
  memory.page()[0] = 'm';
  auto* moved = static_cast<char*>(mremap(memory.page(), kPage, kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr));
  ASSERT_NE(moved, MAP_FAILED);
  EXPECT_EQ(moved[0], 'm');
  EXPECT_EQ(memory.page()[0], 0);
  EXPECT_OK(munmap(moved, kPage));
}

TEST(MremapTest, SharedMemoryIsDoubledByLengthZero) {
  Mapping shared(2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  auto* twin = static_cast<char*>(mremap(shared.page(1), 0, kPage, MREMAP_MAYMOVE));
  ASSERT_NE(twin, MAP_FAILED);
  twin[3] = 't';
  EXPECT_EQ(shared.page(1)[3], 't');
  EXPECT_OK(munmap(twin, kPage));
}

TEST(MremapTest, AFileMappingGrowsIntoItsFile) {
  TempDir dir;
  WriteFileText(dir / "f", std::string(kPage, 'a') + std::string(kPage, 'b'));
  ScopedFd fd(open((dir / "f").c_str(), O_RDWR));
  for (const int type : {MAP_SHARED, MAP_PRIVATE}) {
    void* at = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, type, fd.get(), 0);
    auto* grown = static_cast<char*>(mremap(at, kPage, 3 * kPage, MREMAP_MAYMOVE));
    ASSERT_NE(grown, MAP_FAILED);
    EXPECT_EQ(grown[kPage], 'b');
    EXPECT_EQ(SignalOfRead(grown + 2 * kPage), SIGBUS);
    EXPECT_OK(munmap(grown, 3 * kPage));
  }
}

TEST(MremapTest, TheLimitOfTheAddressSpaceHolds) {
  EXPECT_EQ(RunInChild([] {
              Mapping memory(1);
              const rlimit limit = {rlim_t{512} << 20, RLIM_INFINITY};
              EXPECT_OK(setrlimit(RLIMIT_AS, &limit));
              EXPECT_ERRNO(ENOMEM, Address(mremap(memory.page(), kPage, size_t{1} << 30, MREMAP_MAYMOVE)));
              return 0;
            }),
            0);
}

TEST(MremapTest, LongerThanAnyAddressSpace) {
  Mapping memory(1);
  EXPECT_ERRNO(EINVAL, Address(mremap(memory.page(), kPage, size_t{1} << 47, MREMAP_MAYMOVE)));
}

}  // namespace
}  // namespace guest
