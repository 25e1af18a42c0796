// mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), brk(2).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <cstdio>

#include "tests/util/guest.h"

namespace {

constexpr size_t kPage = 4096;

char* MapAnonymous(size_t pages, int prot = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE) {
  void* at = mmap(nullptr, pages * kPage, prot, flags | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(at, MAP_FAILED);
  return static_cast<char*>(at);
}

// For the macros, which compare numbers.
long Address(void* at) { return reinterpret_cast<long>(at); }

sigjmp_buf fault_jump;
int fault_signal;
void OnFault(int signo) {
  fault_signal = signo;
  siglongjmp(fault_jump, 1);
}
// The signal that touching `at` raises, or 0.
int Touch(volatile char* at, bool write) {
  struct sigaction action = {}, old_segv, old_bus;
  action.sa_handler = OnFault;
  sigaction(SIGSEGV, &action, &old_segv);
  sigaction(SIGBUS, &action, &old_bus);
  fault_signal = 0;
  if (sigsetjmp(fault_jump, 1) == 0) {
    if (write) *at = 1;
    else (void)*at;
  }
  sigaction(SIGSEGV, &old_segv, nullptr);
  sigaction(SIGBUS, &old_bus, nullptr);
  return fault_signal;
}

TEST(MmapTest, AnonymousMemoryIsZeroAndPrivate) {
  char* memory = MapAnonymous(4);
  for (size_t i = 0; i < 4 * kPage; i += 512) EXPECT_EQ(memory[i], 0);
  memory[0] = 'p';
  EXPECT_EQ(guest::RunInChild([&] {
    memory[0] = 'c';
    return 0;
  }), 0);
  EXPECT_EQ(memory[0], 'p');
  EXPECT_OK(munmap(memory, 4 * kPage));
  EXPECT_EQ(Touch(memory, false), SIGSEGV);
}

TEST(MmapTest, SharedAnonymousMemoryIsSharedWithChildren) {
  char* memory = MapAnonymous(1, PROT_READ | PROT_WRITE, MAP_SHARED);
  EXPECT_EQ(guest::RunInChild([&] {
    memory[7] = 'c';
    return 0;
  }), 0);
  EXPECT_EQ(memory[7], 'c');
}

TEST(MmapTest, ArgumentErrors) {
  const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  EXPECT_ERRNO(EINVAL, Address(mmap(nullptr, 0, PROT_READ, anonymous, -1, 0)));
  EXPECT_ERRNO(EINVAL, Address(mmap(nullptr, kPage, PROT_READ, MAP_ANONYMOUS, -1, 0)));
  EXPECT_ERRNO(EBADF, Address(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, -1, 0)));
  EXPECT_ERRNO(ENOMEM, Address(mmap(nullptr, ~size_t{0}, PROT_READ, anonymous, -1, 0)));
  EXPECT_ERRNO(EINVAL, Address(mmap(reinterpret_cast<void*>(kPage * 100 + 1), kPage, PROT_READ, anonymous | MAP_FIXED, -1, 0)));
  EXPECT_ERRNO(EINVAL, munmap(reinterpret_cast<void*>(1), kPage));
  EXPECT_ERRNO(EINVAL, munmap(nullptr, 0));
  EXPECT_OK(munmap(reinterpret_cast<void*>(kPage * 100), kPage));
  guest::TempDir dir;
  guest::WriteFileText(dir / "f", "text");
  guest::ScopedFd read_only(open((dir / "f").c_str(), O_RDONLY)), write_only(open((dir / "f").c_str(), O_WRONLY));
  EXPECT_ERRNO(EACCES, Address(mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED, read_only.get(), 0)));
  EXPECT_ERRNO(EACCES, Address(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, write_only.get(), 0)));
  EXPECT_ERRNO(EINVAL, Address(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, read_only.get(), 1)));
  guest::ScopedFd directory(open(dir.path().c_str(), O_RDONLY));
  EXPECT_ERRNO(ENODEV, Address(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, directory.get(), 0)));
}

TEST(MmapTest, FileMappings) {
  guest::TempDir dir;
  guest::WriteFileText(dir / "f", std::string(kPage, 'a') + "tail");
  guest::ScopedFd fd(open((dir / "f").c_str(), O_RDWR));
  auto* shared = static_cast<char*>(mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  auto* copy = static_cast<char*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get(), 0));
  ASSERT_NE(shared, MAP_FAILED);
  ASSERT_NE(copy, MAP_FAILED);
  EXPECT_EQ(shared[kPage], 't');
  EXPECT_EQ(shared[kPage + 4], 0) << "zeros to the end of the page";
  EXPECT_EQ(Touch(shared + 2 * kPage, false), SIGBUS);
  copy[0] = 'c';
  shared[1] = 's';
  EXPECT_OK(msync(shared, kPage, MS_SYNC));
  char text[2];
  EXPECT_EQ(pread(fd.get(), text, 2, 0), 2);
  EXPECT_EQ(std::string(text, 2), "as");
  EXPECT_EQ(pwrite(fd.get(), "w", 1, 2), 1);
  EXPECT_EQ(shared[2], 'w');
  EXPECT_OK(ftruncate(fd.get(), 10));
  EXPECT_EQ(Touch(shared + kPage, false), SIGBUS);
}

TEST(MmapTest, NoReplaceAndFixed) {
  char* memory = MapAnonymous(3);
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  EXPECT_ERRNO(EEXIST, Address(mmap(memory + kPage, kPage, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0)));
  memory[kPage] = 'x';
  EXPECT_EQ(mmap(memory + kPage, kPage, PROT_READ, flags | MAP_FIXED, -1, 0), memory + kPage);
  EXPECT_EQ(memory[kPage], 0);
  EXPECT_OK(munmap(memory + kPage, kPage));
  EXPECT_EQ(mmap(memory + kPage, kPage, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0), memory + kPage);
}

TEST(MprotectTest, ProtectsAndReports) {
  char* memory = MapAnonymous(3);
  EXPECT_OK(mprotect(memory + kPage, kPage, PROT_READ));
  EXPECT_EQ(Touch(memory, true), 0);
  EXPECT_EQ(Touch(memory + kPage, true), SIGSEGV);
  EXPECT_EQ(Touch(memory + kPage, false), 0);
  EXPECT_OK(mprotect(memory, 3 * kPage, PROT_NONE));
  EXPECT_EQ(Touch(memory, false), SIGSEGV);
  EXPECT_ERRNO(EINVAL, mprotect(memory + 1, kPage, PROT_READ));
  EXPECT_OK(munmap(memory + kPage, kPage));
  EXPECT_ERRNO(ENOMEM, mprotect(memory, 3 * kPage, PROT_READ));
  EXPECT_EQ(Touch(memory, false), 0) << "changed up to the hole";
  EXPECT_OK(mprotect(memory, 0, PROT_READ));
  guest::TempDir dir;
  guest::WriteFileText(dir / "f", "text");
  guest::ScopedFd fd(open((dir / "f").c_str(), O_RDONLY));
  void* shared = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd.get(), 0);
  EXPECT_ERRNO(EACCES, mprotect(shared, kPage, PROT_READ | PROT_WRITE));
}

TEST(MremapTest, GrowsShrinksAndMoves) {
  char* memory = MapAnonymous(4);
  memory[kPage] = 'm';
  EXPECT_EQ(mremap(memory, 4 * kPage, 2 * kPage, 0), memory);
  EXPECT_EQ(Touch(memory + 2 * kPage, false), SIGSEGV);
  auto* moved = static_cast<char*>(mremap(memory, 2 * kPage, 64 * kPage, MREMAP_MAYMOVE));
  ASSERT_NE(moved, MAP_FAILED);
  EXPECT_EQ(moved[kPage], 'm');
  EXPECT_EQ(moved[63 * kPage], 0);
  char* target = MapAnonymous(2);
  EXPECT_EQ(mremap(moved, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target), target);
  EXPECT_EQ(target[kPage], 'm');
  EXPECT_EQ(Touch(moved, false), SIGSEGV);
  EXPECT_ERRNO(EINVAL, Address(mremap(target, kPage, 0, 0)));
  EXPECT_ERRNO(EFAULT, Address(mremap(moved, kPage, 2 * kPage, MREMAP_MAYMOVE)));
  char* shared = MapAnonymous(1, PROT_READ | PROT_WRITE, MAP_SHARED);
  auto* twin = static_cast<char*>(mremap(shared, 0, kPage, MREMAP_MAYMOVE));
  ASSERT_NE(twin, MAP_FAILED);
  twin[3] = 't';
  EXPECT_EQ(shared[3], 't');
}

TEST(MadviseTest, DontneedZeroesAndForkAdviceHolds) {
  char* memory = MapAnonymous(3);
  memory[0] = memory[kPage] = memory[2 * kPage] = 'x';
  EXPECT_OK(madvise(memory, kPage, MADV_DONTNEED));
  EXPECT_EQ(memory[0], 0);
  EXPECT_OK(madvise(memory + kPage, kPage, MADV_WIPEONFORK));
  EXPECT_OK(madvise(memory + 2 * kPage, kPage, MADV_DONTFORK));
  EXPECT_EQ(guest::RunInChild([&] {
    return memory[kPage] == 0 && Touch(memory + 2 * kPage, false) == SIGSEGV ? 0 : 1;
  }), 0);
  EXPECT_EQ(memory[kPage], 'x');
  EXPECT_ERRNO(EINVAL, madvise(memory, kPage, 9999));
  EXPECT_ERRNO(EINVAL, madvise(memory + 1, kPage, MADV_NORMAL));
}

TEST(MmapTest, StackThatGrows) {
  char* area = MapAnonymous(300, PROT_NONE);
  ASSERT_OK(munmap(area, 300 * kPage));
  char* stack = static_cast<char*>(mmap(area + 299 * kPage, kPage, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
  ASSERT_NE(stack, MAP_FAILED);
  EXPECT_EQ(Touch(stack - 1, true), 0);
  EXPECT_EQ(Touch(stack - 3 * kPage, true), 0);
}

TEST(BrkTest, GrowsAndShrinks) {
  EXPECT_EQ(guest::RunInChild([] {
    char* start = static_cast<char*>(sbrk(0));
    if (sbrk(10 * kPage) != start) return 1;
    start[9 * kPage] = 1;
    if (brk(start) != 0 || sbrk(0) != start) return 2;
    return 0;
  }), 0);
}

TEST(MincoreTest, Errors) {
  char* memory = MapAnonymous(2);
  memory[0] = memory[kPage] = 1;
  unsigned char resident[2] = {};
  EXPECT_OK(mincore(memory, 2 * kPage, resident));
  EXPECT_EQ(resident[0] & 1, 1);
  EXPECT_ERRNO(EINVAL, mincore(memory + 1, kPage, resident));
  EXPECT_ERRNO(EFAULT, mincore(memory, kPage, static_cast<unsigned char*>(guest::BadPointer())));
  EXPECT_OK(munmap(memory + kPage, kPage));
  EXPECT_ERRNO(ENOMEM, mincore(memory, 2 * kPage, resident));
}

}  // namespace
