// brk(2), RLIMIT_DATA. The raw call: it returns where the break is, also when it could not be moved.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

namespace guest {
namespace {

char* Brk(const void* to) { return reinterpret_cast<char*>(syscall(SYS_brk, to)); }

// Each case leaves the heap to the allocator as it found it.
template <typename F>
void InChild(F body) {
  EXPECT_EQ(RunInChild([&] {
              body(Brk(nullptr));
              return 0;
            }),
            0);
}

TEST(BrkTest, GrowsAndShrinks) {
  InChild([](char* start) {
    EXPECT_EQ(Brk(start + 10 * kPage), start + 10 * kPage);
    EXPECT_EQ(start[9 * kPage], 0);
    start[9 * kPage] = 1;
    EXPECT_EQ(Brk(start + kPage), start + kPage);
    EXPECT_EQ(SignalOfRead(start + 3 * kPage), SIGSEGV);
    EXPECT_EQ(Brk(start + 10 * kPage), start + 10 * kPage);
    EXPECT_EQ(start[9 * kPage], 0) << "fresh again";
    EXPECT_EQ(Brk(start), start);
  });
}

TEST(BrkTest, KeepsToTheByte) {
  InChild([](char* start) {
    EXPECT_EQ(Brk(start + 123), start + 123);
    EXPECT_EQ(Brk(nullptr), start + 123);
  });
}

TEST(BrkTest, ImpossibleBreaksChangeNothing) {
  InChild([](char* start) {
    EXPECT_EQ(Brk(reinterpret_cast<void*>(1)), start);
    EXPECT_EQ(Brk(reinterpret_cast<void*>(~0ul)), start);
    EXPECT_EQ(Brk(reinterpret_cast<void*>(0x7fffffffe000)), start) << "the stack is in the way";
  });
}

TEST(BrkTest, StopsAtANeighbour) {
  InChild([](char* start) {
    char* page = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(start) + 64 * kPage) & ~(kPage - 1));
    ASSERT_EQ(mmap(page, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), page);
    EXPECT_EQ(Brk(page + 1), start);
    EXPECT_EQ(Brk(page - 2 * kPage), page - 2 * kPage);
  });
}

TEST(BrkTest, TheLimitOfDataHolds) {
  InChild([](char* start) {
    const rlimit limit = {kPage, RLIM_INFINITY};
    EXPECT_OK(setrlimit(RLIMIT_DATA, &limit));
    EXPECT_EQ(Brk(start + 16 * kPage), start);
    EXPECT_ERRNO(ENOMEM, Address(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    void* shared = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(shared, MAP_FAILED) << "shared memory is not data";
    void* read_only = mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(read_only, MAP_FAILED);
    EXPECT_ERRNO(ENOMEM, mprotect(read_only, kPage, PROT_READ | PROT_WRITE));
  });
}

TEST(BrkTest, TheChildHasItsOwn) {
  InChild([](char* start) {
    EXPECT_EQ(RunInChild([&] { return Brk(start + 4 * kPage) == start + 4 * kPage ? 0 : 1; }), 0);
    EXPECT_EQ(Brk(nullptr), start);
  });
}

TEST(BrkTest, IsTheHeapInMaps) {
  InChild([](char* start) {
    EXPECT_EQ(Brk(start + 4 * kPage), start + 4 * kPage);
    const std::string maps = ReadFileText("/proc/self/maps");
    EXPECT_NE(maps.find("[heap]"), std::string::npos) << maps;
  });
}

}  // namespace
}  // namespace guest
