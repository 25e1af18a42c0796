// The nodes of /dev that every system has: null, zero, full, random, urandom, fd, stdin, ptmx (null(4), full(4),
// random(4)).
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

namespace guest {
namespace {

TEST(DeviceTest, NumbersAndModes) {
  const struct {
    const char* name;
    unsigned major, minor;
  } cases[] = {{"/dev/null", 1, 3}, {"/dev/zero", 1, 5},   {"/dev/full", 1, 7},
               {"/dev/tty", 5, 0},  {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}};
  for (const auto& c : cases) {
    struct stat st;
    ASSERT_OK(stat(c.name, &st));
    EXPECT_EQ(st.st_mode, S_IFCHR | 0666u) << c.name;
    EXPECT_EQ(st.st_rdev, makedev(c.major, c.minor)) << c.name;
  }
}

TEST(DeviceTest, Null) {
  ScopedFd fd(open("/dev/null", O_RDWR | O_TRUNC | O_APPEND));
  char byte;
  EXPECT_EQ(read(fd.get(), &byte, 1), 0);
  EXPECT_EQ(read(fd.get(), BadPointer(), 1), 0) << "nothing is copied";
  EXPECT_EQ(write(fd.get(), BadPointer(), 1000), 1000);
  EXPECT_ERRNO(EINVAL, ftruncate(fd.get(), 0));
  EXPECT_ERRNO(ENODEV, Address(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, fd.get(), 0)));
  pollfd request = {fd.get(), POLLIN | POLLOUT, 0};
  EXPECT_EQ(poll(&request, 1, 0), 1);
  EXPECT_EQ(request.revents, POLLIN | POLLOUT);
}

TEST(DeviceTest, ZeroAndFull) {
  for (const char* name : {"/dev/zero", "/dev/full"}) {
    ScopedFd fd(open(name, O_RDWR));
    std::string bytes(5000, 'x');
    EXPECT_EQ(read(fd.get(), bytes.data(), 5000), 5000);
    EXPECT_EQ(bytes, std::string(5000, '\0'));
    EXPECT_ERRNO(EFAULT, read(fd.get(), BadPointer(), 1));
    EdgeBuffer edge(100);
    EXPECT_EQ(read(fd.get(), edge.front(), 200), 100) << name;
  }
  ScopedFd zero(open("/dev/zero", O_RDWR)), full(open("/dev/full", O_RDWR));
  EXPECT_EQ(write(zero.get(), "x", 1), 1);
  EXPECT_ERRNO(ENOSPC, write(full.get(), "x", 1));
  Mapping shared(1, PROT_READ | PROT_WRITE, MAP_SHARED, zero.get()),
      copy(1, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero.get());
  shared.page()[0] = copy.page()[0] = 'p';
  EXPECT_EQ(RunInChild([&] {
              shared.page()[0] = copy.page()[0] = 'c';
              return 0;
            }),
            0);
  EXPECT_EQ(shared.page()[0], 'c');
  EXPECT_EQ(copy.page()[0], 'p');
}

TEST(DeviceTest, RandomDiffers) {
  for (const char* name : {"/dev/random", "/dev/urandom"}) {
    ScopedFd fd(open(name, O_RDWR));
    char a[32], b[32];
    EXPECT_EQ(read(fd.get(), a, 32), 32);
    EXPECT_EQ(read(fd.get(), b, 32), 32);
    EXPECT_NE(std::memcmp(a, b, 32), 0);
    EXPECT_EQ(write(fd.get(), a, 32), 32);
    EXPECT_ERRNO(EFAULT, read(fd.get(), BadPointer(), 1));
  }
}

TEST(DeviceTest, DescriptorLinks) {
  TempDir dir;
  ScopedFd file(open((dir / "f").c_str(), O_CREAT | O_RDWR, 0600));
  ASSERT_EQ(write(file.get(), "text", 4), 4);
  ScopedFd again(open(("/dev/fd/" + std::to_string(file.get())).c_str(), O_RDONLY));
  char text[5] = {};
  EXPECT_EQ(read(again.get(), text, 4), 4) << "a description of its own";
  EXPECT_STREQ(text, "text");
  struct stat st;
  EXPECT_OK(lstat("/dev/stdin", &st));
  EXPECT_TRUE(S_ISLNK(st.st_mode));
}

TEST(DeviceTest, NodesMadeElsewhereWork) {
  TempDir dir;
  ASSERT_OK(mknod((dir / "null").c_str(), S_IFCHR | 0666, makedev(1, 3)));
  ScopedFd fd(open((dir / "null").c_str(), O_WRONLY));
  EXPECT_EQ(write(fd.get(), "x", 1), 1);
  ASSERT_OK(mknod((dir / "none").c_str(), S_IFCHR | 0666, makedev(240, 99)));
  EXPECT_ERRNO(ENXIO, open((dir / "none").c_str(), O_RDONLY));
}

}  // namespace
}  // namespace guest
