// open(2), openat(2), openat2(2), creat(2), close(2), close_range(2).
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "tests/util/guest.h"

namespace guest {
namespace {

int Openat2(int dirfd, const char* path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  open_how how = {};
  how.flags = flags;
  how.mode = mode;
  how.resolve = resolve;
  return static_cast<int>(syscall(SYS_openat2, dirfd, path, &how, sizeof(how)));
}

class OpenTest : public testing::Test {
 protected:
  OpenTest() { WriteFileText(dir_ / "file", "text"); }
  TempDir dir_;
};

TEST_F(OpenTest, LowestDescriptorIsUsed) {
  ScopedFd a(open((dir_ / "file").c_str(), O_RDONLY));
  ScopedFd b(open((dir_ / "file").c_str(), O_RDONLY));
  const int low = a.get();
  a.reset();
  ScopedFd c(open((dir_ / "file").c_str(), O_RDONLY));
  EXPECT_EQ(c.get(), low);
}

TEST_F(OpenTest, CreatesWithTheUmask) {
  const mode_t old = umask(027);
  ScopedFd fd(open((dir_ / "new").c_str(), O_CREAT | O_RDWR, 0666));
  umask(old);
  struct stat st;
  ASSERT_OK(fstat(fd.get(), &st));
  EXPECT_EQ(st.st_mode, S_IFREG | 0640u);
  EXPECT_EQ(st.st_size, 0);
}

TEST_F(OpenTest, ExclusiveCreationFailsOnAnything) {
  ASSERT_OK(symlink("nowhere", (dir_ / "dangling").c_str()));
  EXPECT_ERRNO(EEXIST, open((dir_ / "file").c_str(), O_CREAT | O_EXCL | O_RDWR, 0644));
  EXPECT_ERRNO(EEXIST, open((dir_ / "dangling").c_str(), O_CREAT | O_EXCL | O_RDWR, 0644));
  EXPECT_ERRNO(EEXIST, open(dir_.path().c_str(), O_CREAT | O_EXCL | O_RDWR, 0644));
}

TEST_F(OpenTest, CreationThroughADanglingLinkMakesTheTarget) {
  ASSERT_OK(symlink("target", (dir_ / "link").c_str()));
  ScopedFd fd(open((dir_ / "link").c_str(), O_CREAT | O_RDWR, 0644));
  ASSERT_GE(fd.get(), 0);
  EXPECT_OK(access((dir_ / "target").c_str(), F_OK));
}

TEST_F(OpenTest, Errors) {
  const std::string file = dir_ / "file", slash = file + "/";
  EXPECT_ERRNO(ENOENT, open("", O_RDONLY));
  EXPECT_ERRNO(ENOENT, open((dir_ / "none").c_str(), O_RDONLY));
  EXPECT_ERRNO(ENOTDIR, open((file + "/x").c_str(), O_RDONLY));
  EXPECT_ERRNO(ENOTDIR, open(slash.c_str(), O_RDONLY));
  EXPECT_ERRNO(ENOTDIR, open(file.c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_ERRNO(EISDIR, open(dir_.path().c_str(), O_WRONLY));
  EXPECT_ERRNO(EISDIR, open(dir_.path().c_str(), O_CREAT | O_RDONLY, 0644));
  EXPECT_ERRNO(EISDIR, open((dir_ / "new/").c_str(), O_CREAT | O_WRONLY, 0644));
  EXPECT_ERRNO(ENAMETOOLONG, open((dir_ / std::string(256, 'a')).c_str(), O_RDONLY));
  EXPECT_ERRNO(ENAMETOOLONG, open(std::string(PATH_MAX, 'a').c_str(), O_RDONLY));
  EXPECT_ERRNO(EFAULT, open(static_cast<char*>(BadPointer()), O_RDONLY));
  EXPECT_ERRNO(EBADF, openat(1000, "file", O_RDONLY));
  ScopedFd fd(open(file.c_str(), O_RDONLY));
  EXPECT_ERRNO(ENOTDIR, openat(fd.get(), "x", O_RDONLY));
}

TEST_F(OpenTest, AnAbsolutePathIgnoresTheDescriptor) {
  ScopedFd fd(openat(1000, (dir_ / "file").c_str(), O_RDONLY));
  EXPECT_GE(fd.get(), 0);
}

TEST_F(OpenTest, APathMayEndRightBeforeAnUnmappedPage) {
  const std::string path = dir_ / "file";
  EdgeBuffer buffer(path.size() + 1);
  std::memcpy(buffer.front(), path.c_str(), path.size() + 1);
  ScopedFd fd(open(buffer.front(), O_RDONLY));
  EXPECT_GE(fd.get(), 0);
  buffer.front()[path.size()] = 'x';  // no terminator before the hole
  EXPECT_ERRNO(EFAULT, open(buffer.front(), O_RDONLY));
}

TEST_F(OpenTest, LoopsOfLinksEnd) {
  ASSERT_OK(symlink("b", (dir_ / "a").c_str()));
  ASSERT_OK(symlink("a", (dir_ / "b").c_str()));
  EXPECT_ERRNO(ELOOP, open((dir_ / "a").c_str(), O_RDONLY));
  EXPECT_ERRNO(ELOOP, open((dir_ / "a").c_str(), O_RDONLY | O_NOFOLLOW));
  EXPECT_ERRNO(ENOTDIR, open((dir_ / "a").c_str(), O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
}

TEST_F(OpenTest, PathDescriptorsCannotTransfer) {
  ScopedFd fd(open((dir_ / "file").c_str(), O_PATH));
  ASSERT_GE(fd.get(), 0);
  char byte;
  EXPECT_ERRNO(EBADF, read(fd.get(), &byte, 1));
  EXPECT_ERRNO(EBADF, fchmod(fd.get(), 0600));
  EXPECT_ERRNO(EBADF, fcntl(fd.get(), F_SETFL, O_NONBLOCK));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_PATH, O_PATH);
  struct stat st;
  EXPECT_OK(fstat(fd.get(), &st));
  ScopedFd again(open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDONLY));
  EXPECT_EQ(read(again.get(), &byte, 1), 1);
}

TEST_F(OpenTest, APathDescriptorOfALinkIsTheLink) {
  ASSERT_OK(symlink("file", (dir_ / "link").c_str()));
  ScopedFd fd(open((dir_ / "link").c_str(), O_PATH | O_NOFOLLOW));
  char text[16] = {};
  EXPECT_EQ(readlinkat(fd.get(), "", text, sizeof(text)), 4);
  EXPECT_STREQ(text, "file");
}

TEST_F(OpenTest, TruncationNeedsWritePermission) {
  ASSERT_OK(chmod((dir_ / "file").c_str(), 0444));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EACCES, open((dir_ / "file").c_str(), O_RDONLY | O_TRUNC));
              EXPECT_ERRNO(EACCES, open((dir_ / "file").c_str(), O_WRONLY));
              return 0;
            }),
            0);
  EXPECT_EQ(ReadFileText(dir_ / "file"), "text");
  ScopedFd fd(open((dir_ / "file").c_str(), O_WRONLY | O_TRUNC));
  EXPECT_EQ(ReadFileText(dir_ / "file"), "");
}

TEST_F(OpenTest, TheLimitOfDescriptorsGivesEmfile) {
  EXPECT_EQ(RunInChild([&] {
              const rlimit limit = {8, 8};
              setrlimit(RLIMIT_NOFILE, &limit);
              while (open("/dev/null", O_RDONLY) >= 0) {
              }
              EXPECT_EQ(errno, EMFILE);
              EXPECT_ERRNO(EBADF, dup2(0, 8));
              EXPECT_ERRNO(EINVAL, fcntl(0, F_DUPFD, 8));
              return 0;
            }),
            0);
}

TEST_F(OpenTest, TmpfileHasNoName) {
  ScopedFd fd(open(dir_.path().c_str(), O_TMPFILE | O_RDWR, 0600));
  ASSERT_GE(fd.get(), 0);
  struct stat st;
  ASSERT_OK(fstat(fd.get(), &st));
  EXPECT_EQ(st.st_nlink, 0u);
  const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
  EXPECT_OK(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, (dir_ / "named").c_str(), AT_SYMLINK_FOLLOW));
  EXPECT_OK(access((dir_ / "named").c_str(), F_OK));
  EXPECT_ERRNO(EINVAL, open(dir_.path().c_str(), O_TMPFILE | O_RDONLY, 0600));
}

TEST_F(OpenTest, Openat2IsStrict) {
  const std::string file = dir_ / "file";
  EXPECT_ERRNO(EINVAL, Openat2(AT_FDCWD, file.c_str(), O_RDONLY, 0644, 0));
  EXPECT_ERRNO(EINVAL, Openat2(AT_FDCWD, file.c_str(), uint64_t{1} << 40, 0, 0));
  EXPECT_ERRNO(EINVAL, Openat2(AT_FDCWD, file.c_str(), O_RDONLY, 0, 1 << 20));
  EXPECT_ERRNO(EINVAL, Openat2(AT_FDCWD, file.c_str(), O_PATH | O_RDWR, 0, 0));
  open_how how = {};
  EXPECT_ERRNO(EINVAL, syscall(SYS_openat2, AT_FDCWD, file.c_str(), &how, 8));
  struct {
    open_how how;
    uint64_t more;
  } big = {};
  const long fd = syscall(SYS_openat2, AT_FDCWD, file.c_str(), &big, sizeof(big));
  EXPECT_GE(fd, 0);
  close(static_cast<int>(fd));
  big.more = 1;
  EXPECT_ERRNO(E2BIG, syscall(SYS_openat2, AT_FDCWD, file.c_str(), &big, sizeof(big)));
  EXPECT_ERRNO(EFAULT, syscall(SYS_openat2, AT_FDCWD, file.c_str(), BadPointer(), sizeof(how)));
}

TEST_F(OpenTest, Openat2Resolves) {
  ASSERT_OK(mkdir((dir_ / "sub").c_str(), 0755));
  ASSERT_OK(symlink("../file", (dir_ / "sub/up").c_str()));
  ASSERT_OK(symlink("/file", (dir_ / "sub/abs").c_str()));
  WriteFileText(dir_ / "sub/inner", "");
  ScopedFd sub(open((dir_ / "sub").c_str(), O_RDONLY));
  EXPECT_ERRNO(EXDEV, Openat2(sub.get(), "../file", O_RDONLY, 0, RESOLVE_BENEATH));
  EXPECT_ERRNO(EXDEV, Openat2(sub.get(), "up", O_RDONLY, 0, RESOLVE_BENEATH));
  EXPECT_ERRNO(EXDEV, Openat2(sub.get(), "/etc", O_RDONLY, 0, RESOLVE_BENEATH));
  EXPECT_ERRNO(ELOOP, Openat2(sub.get(), "up", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
  EXPECT_ERRNO(ENOENT, Openat2(sub.get(), "abs", O_RDONLY, 0, RESOLVE_IN_ROOT));
  ScopedFd inner(Openat2(sub.get(), "/../inner", O_RDONLY, 0, RESOLVE_IN_ROOT));
  EXPECT_GE(inner.get(), 0);
  EXPECT_ERRNO(ELOOP, Openat2(AT_FDCWD, "/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
}

TEST_F(OpenTest, CloseTwiceIsAnError) {
  const int fd = open((dir_ / "file").c_str(), O_RDONLY);
  EXPECT_OK(close(fd));
  EXPECT_ERRNO(EBADF, close(fd));
  EXPECT_ERRNO(EBADF, close(-1));
}

TEST_F(OpenTest, CloseRangeClosesOrMarks) {
  const int first = fcntl(0, F_DUPFD, 200);
  const int second = fcntl(0, F_DUPFD, 210);
  ASSERT_EQ(first, 200);
  EXPECT_OK(syscall(SYS_close_range, 200, 220, 4 /* CLOSE_RANGE_CLOEXEC */));
  EXPECT_EQ(fcntl(first, F_GETFD), FD_CLOEXEC);
  EXPECT_OK(syscall(SYS_close_range, 200, ~0u, 0));
  EXPECT_ERRNO(EBADF, fcntl(second, F_GETFD));
  EXPECT_ERRNO(EINVAL, syscall(SYS_close_range, 5, 4, 0));
  EXPECT_ERRNO(EINVAL, syscall(SYS_close_range, 200, 201, 8));
}

TEST_F(OpenTest, RunningProgramsCannotBeWritten) { EXPECT_ERRNO(ETXTBSY, open("/proc/self/exe", O_WRONLY)); }

}  // namespace
}  // namespace guest
