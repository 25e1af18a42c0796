// Opening descriptors again through /proc/self/fd and /dev/fd.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

std::string SelfFd(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

TEST(ReopenTest, PipesOpenAtEitherEnd) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  ScopedFd writer(open(SelfFd(pipes[0]).c_str(), O_WRONLY));
  ScopedFd reader(open(("/dev/fd/" + std::to_string(pipes[1])).c_str(), O_RDONLY));
  ASSERT_GE(writer.get(), 0);
  ASSERT_GE(reader.get(), 0);
  ASSERT_EQ(write(writer.get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(reader.get(), &byte, 1), 1);
  // The new end keeps the pipe open.
  close(pipes[1]);
  close(pipes[0]);
  EXPECT_EQ(write(writer.get(), "y", 1), 1);
  writer.reset();
  EXPECT_EQ(read(reader.get(), &byte, 1), 1);
  EXPECT_EQ(read(reader.get(), &byte, 1), 0);
}

TEST(ReopenTest, RegularFilesGetAPositionOfTheirOwn) {
  TempDir dir;
  ScopedFd fd(open((dir / "f").c_str(), O_CREAT | O_RDWR, 0644));
  ASSERT_EQ(write(fd.get(), "abc", 3), 3);
  ASSERT_OK(unlink((dir / "f").c_str()));
  ScopedFd again(open(SelfFd(fd.get()).c_str(), O_RDONLY));
  char text[4] = {};
  EXPECT_EQ(read(again.get(), text, 3), 3);
  EXPECT_STREQ(text, "abc");
  EXPECT_ERRNO(EBADF, write(again.get(), "x", 1));
}

TEST(ReopenTest, MemoryFilesCanBeReadOnly) {
  ScopedFd fd(memfd_create("m", 0));
  ASSERT_EQ(write(fd.get(), "abc", 3), 3);
  ScopedFd again(open(SelfFd(fd.get()).c_str(), O_RDONLY));
  ASSERT_GE(again.get(), 0);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0), MAP_FAILED);
  EXPECT_EQ(errno, EACCES);
}

TEST(ReopenTest, SocketsAndAnonymousInodesCannot) {
  int sockets[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
  EXPECT_ERRNO(ENXIO, open(SelfFd(sockets[0]).c_str(), O_RDWR));
  ScopedFd event(eventfd(0, 0));
  EXPECT_ERRNO(ENXIO, open(SelfFd(event.get()).c_str(), O_RDWR));
  close(sockets[0]);
  close(sockets[1]);
}

TEST(ReopenTest, AStartThatIsNoDirectoryIsRefused) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  struct stat st;
  EXPECT_ERRNO(ENOTDIR, openat(pipes[0], "x", O_RDONLY));
  EXPECT_ERRNO(ENOTDIR, mkdirat(pipes[0], "x", 0755));
  EXPECT_ERRNO(ENOTDIR, fstatat(pipes[0], "x", &st, 0));
  EXPECT_ERRNO(ENOTDIR, fchdir(pipes[0]));
  close(pipes[0]);
  close(pipes[1]);
}

}  // namespace
}  // namespace guest
