// mmap(2), munmap(2).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

namespace {

using guest::Address;
using guest::kPage;

char* MapAnonymous(size_t pages, int prot = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE) {
  void* at = mmap(nullptr, pages * kPage, prot, flags | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(at, MAP_FAILED);
  return static_cast<char*>(at);
}

TEST(MmapTest, AnonymousMemoryIsZeroAndPrivate) {
  char* memory = MapAnonymous(4);
  for (size_t i = 0; i < 4 * kPage; i += 512) EXPECT_EQ(memory[i], 0);
  memory[0] = 'p';
  EXPECT_EQ(guest::RunInChild([&] {
              memory[0] = 'c';
              return 0;
            }),
            0);
  EXPECT_EQ(memory[0], 'p');
  EXPECT_OK(munmap(memory, 4 * kPage));
  EXPECT_EQ(guest::SignalOfRead(memory), SIGSEGV);
}

TEST(MmapTest, SharedAnonymousMemoryIsSharedWithChildren) {
  char* memory = MapAnonymous(1, PROT_READ | PROT_WRITE, MAP_SHARED);
  EXPECT_EQ(guest::RunInChild([&] {
              memory[7] = 'c';
              return 0;
            }),
            0);
  EXPECT_EQ(memory[7], 'c');
}

TEST(MmapTest, ArgumentErrors) {
  const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  EXPECT_ERRNO(EINVAL, Address(mmap(nullptr, 0, PROT_READ, anonymous, -1, 0)));
  EXPECT_ERRNO(EINVAL, Address(mmap(nullptr, kPage, PROT_READ, MAP_ANONYMOUS, -1, 0)));
  EXPECT_ERRNO(EBADF, Address(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, -1, 0)));
  EXPECT_ERRNO(ENOMEM, Address(mmap(nullptr, ~size_t{0}, PROT_READ, anonymous, -1, 0)));
  EXPECT_ERRNO(EINVAL,
               Address(mmap(reinterpret_cast<void*>(kPage * 100 + 1), kPage, PROT_READ, anonymous | MAP_FIXED, -1, 0)));
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
  EXPECT_EQ(guest::SignalOfRead(shared + 2 * kPage), SIGBUS);
  copy[0] = 'c';
  shared[1] = 's';
  EXPECT_OK(msync(shared, kPage, MS_SYNC));
  char text[2];
  EXPECT_EQ(pread(fd.get(), text, 2, 0), 2);
  EXPECT_EQ(std::string(text, 2), "as");
  EXPECT_EQ(pwrite(fd.get(), "w", 1, 2), 1);
  EXPECT_EQ(shared[2], 'w');
  EXPECT_OK(ftruncate(fd.get(), 10));
  EXPECT_EQ(guest::SignalOfRead(shared + kPage), SIGBUS);
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

TEST(MmapTest, StackThatGrows) {
  char* area = MapAnonymous(300, PROT_NONE);
  ASSERT_OK(munmap(area, 300 * kPage));
  char* stack = static_cast<char*>(mmap(area + 299 * kPage, kPage, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
  ASSERT_NE(stack, MAP_FAILED);
  EXPECT_EQ(guest::SignalOfWrite(stack - 1), 0);
  EXPECT_EQ(guest::SignalOfWrite(stack - 3 * kPage), 0);
}

TEST(MmapTest, Droppable) {
  constexpr int kDroppable = 0x08;
  char* const at = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, kDroppable | MAP_ANONYMOUS, -1, 0));
  if (at == MAP_FAILED) GTEST_SKIP() << "older than Linux 6.11";
  at[0] = 'x';
  EXPECT_EQ(guest::RunInChild([&] { return at[0]; }), 0) << "not inherited";
  munmap(at, 4096);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ, kDroppable | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
