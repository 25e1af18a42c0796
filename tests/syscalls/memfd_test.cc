// memfd_create(2) and file seals.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

TEST(MemfdTest, IsAnEmptyFileWithAName) {
  ScopedFd fd(memfd_create("name", MFD_CLOEXEC));
  ASSERT_GE(fd.get(), 0);
  EXPECT_EQ(fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  struct stat st;
  ASSERT_OK(fstat(fd.get(), &st));
  EXPECT_TRUE(S_ISREG(st.st_mode));
  EXPECT_EQ(st.st_mode & 0777, 0777u);
  EXPECT_EQ(st.st_size, 0);
  char text[64] = {};
  EXPECT_GT(readlink(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), text, sizeof(text) - 1), 0);
  EXPECT_STREQ(text, "/memfd:name (deleted)");
  EXPECT_EQ(write(fd.get(), "abc", 3), 3);
  EXPECT_EQ(lseek(fd.get(), 0, SEEK_CUR), 3);
}

TEST(MemfdTest, Errors) {
  EXPECT_ERRNO(EINVAL, memfd_create("x", 0x8000));
  EXPECT_ERRNO(EFAULT, memfd_create(static_cast<char*>(BadPointer()), 0));
  EXPECT_ERRNO(EINVAL, memfd_create(std::string(250, 'x').c_str(), 0));
  ScopedFd fd(memfd_create(std::string(249, 'x').c_str(), 0));
  EXPECT_GE(fd.get(), 0);
}

TEST(MemfdTest, SealsHold) {
  ScopedFd fd(memfd_create("s", MFD_ALLOW_SEALING));
  ASSERT_OK(ftruncate(fd.get(), 4096));
  EXPECT_EQ(fcntl(fd.get(), F_GET_SEALS), 0);
  ASSERT_OK(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
  EXPECT_ERRNO(EPERM, ftruncate(fd.get(), 10));
  EXPECT_ERRNO(EPERM, ftruncate(fd.get(), 8192));
  EXPECT_ERRNO(EPERM, pwrite(fd.get(), "x", 1, 4096));
  EXPECT_EQ(pwrite(fd.get(), "x", 1, 0), 1);
  void* mapped = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_ERRNO(EBUSY, fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE));
  munmap(mapped, 4096);
  ASSERT_OK(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE));
  EXPECT_ERRNO(EPERM, pwrite(fd.get(), "x", 1, 0));
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
  EXPECT_EQ(errno, EPERM);
  void* read_only = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd.get(), 0);
  EXPECT_NE(read_only, MAP_FAILED);
  munmap(read_only, 4096);
  ASSERT_OK(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL));
  EXPECT_ERRNO(EPERM, fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE));
  EXPECT_EQ(fcntl(fd.get(), F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

TEST(MemfdTest, SealingMustBeAllowed) {
  ScopedFd fd(memfd_create("s", 0));
  EXPECT_EQ(fcntl(fd.get(), F_GET_SEALS), F_SEAL_SEAL);
  EXPECT_ERRNO(EPERM, fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE));
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  EXPECT_ERRNO(EINVAL, fcntl(pipes[0], F_GET_SEALS));
  close(pipes[0]);
  close(pipes[1]);
}

TEST(MemfdTest, SharedMappingsAreSharedAcrossFork) {
  ScopedFd fd(memfd_create("m", 0));
  ASSERT_EQ(write(fd.get(), "hello", 5), 5);
  auto* mapped = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_EQ(std::string(mapped, 5), "hello");
  EXPECT_EQ(RunInChild([&] {
              mapped[0] = 'J';
              return 0;
            }),
            0);
  EXPECT_EQ(mapped[0], 'J');
  char byte;
  EXPECT_EQ(pread(fd.get(), &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'J');
  EXPECT_EQ(pwrite(fd.get(), "K", 1, 1), 1);
  EXPECT_EQ(mapped[1], 'K');
  munmap(mapped, 4096);
}

TEST(MemfdTest, AccessPastTheEndIsSigbus) {
  ScopedFd fd(memfd_create("m", 0));
  auto* mapped = static_cast<volatile char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  EXPECT_EQ(RunInChild([&] { return mapped[0]; }), 128 + SIGBUS);
}

TEST(MemfdTest, SealedMappingNeverBecomesWritable) {
  const guest::ScopedFd fd(memfd_create("m", MFD_ALLOW_SEALING));
  ASSERT_OK(ftruncate(fd.get(), 4096));
  ASSERT_OK(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE));
  void* map = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_ERRNO(EACCES, mprotect(map, 4096, PROT_READ | PROT_WRITE));
  EXPECT_OK(munmap(map, 4096));
  EXPECT_ERRNO(EPERM, reinterpret_cast<long>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0)));
}

}  // namespace
}  // namespace guest
