// chdir(2), fchdir(2), getcwd(2), chroot(2), umask(2).
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "tests/util/guest.h"

namespace guest {
namespace {

std::string Cwd() {
  char buffer[PATH_MAX];
  const long length = syscall(SYS_getcwd, buffer, sizeof(buffer));
  return length > 0 ? std::string(buffer, static_cast<size_t>(length) - 1) : "errno " + std::to_string(errno);
}

class CwdTest : public testing::Test {
 protected:
  CwdTest() {
    EXPECT_OK(mkdir((dir_ / "sub").c_str(), 0755));
    WriteFileText(dir_ / "file", "");
  }
  TempDir dir_;
};

TEST_F(CwdTest, ChdirAndFchdirMove) {
  EXPECT_EQ(RunInChild([&] {
              EXPECT_OK(chdir(dir_.path().c_str()));
              EXPECT_EQ(Cwd(), dir_.path());
              const int fd = open("sub", O_RDONLY);
              EXPECT_OK(fchdir(fd));
              EXPECT_EQ(Cwd(), dir_ / "sub");
              EXPECT_OK(chdir(".."));
              EXPECT_EQ(Cwd(), dir_.path());
              return 0;
            }),
            0);
}

TEST_F(CwdTest, GetcwdFollowsRenames) {
  EXPECT_EQ(RunInChild([&] {
              EXPECT_OK(chdir((dir_ / "sub").c_str()));
              EXPECT_OK(rename((dir_ / "sub").c_str(), (dir_ / "other").c_str()));
              EXPECT_EQ(Cwd(), dir_ / "other");
              return 0;
            }),
            0);
}

TEST_F(CwdTest, Errors) {
  EXPECT_ERRNO(ENOTDIR, chdir((dir_ / "file").c_str()));
  EXPECT_ERRNO(ENOENT, chdir((dir_ / "none").c_str()));
  EXPECT_ERRNO(ENOENT, chdir(""));
  EXPECT_ERRNO(EFAULT, chdir(static_cast<char*>(BadPointer())));
  ScopedFd file(open((dir_ / "file").c_str(), O_RDONLY));
  EXPECT_ERRNO(ENOTDIR, fchdir(file.get()));
  EXPECT_ERRNO(EBADF, fchdir(-1));
  char buffer[4096];
  EXPECT_ERRNO(ERANGE, syscall(SYS_getcwd, buffer, 1));
  EXPECT_ERRNO(EFAULT, syscall(SYS_getcwd, BadPointer(), 4096));
  ASSERT_OK(chmod((dir_ / "sub").c_str(), 0700));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EACCES, chdir((dir_ / "sub").c_str()));
              EXPECT_ERRNO(EPERM, chroot("/"));
              return 0;
            }),
            0);
}

TEST_F(CwdTest, ChrootChangesWhatAbsolutePathsMean) {
  WriteFileText(dir_ / "sub/inside", "");
  EXPECT_EQ(RunInChild([&] {
              EXPECT_OK(chroot((dir_ / "sub").c_str()));
              EXPECT_OK(access("/inside", F_OK));
              EXPECT_OK(access("/../../inside", F_OK));
              EXPECT_EQ(Cwd().substr(0, 13), "(unreachable)");
              EXPECT_OK(chdir("/"));
              EXPECT_EQ(Cwd(), "/");
              EXPECT_ERRNO(ENOENT, access(dir_.path().c_str(), F_OK));
              return 0;
            }),
            0);
}

TEST_F(CwdTest, UmaskReturnsTheOldOne) {
  const mode_t old = umask(0123);
  EXPECT_EQ(umask(07777), 0123u);
  EXPECT_EQ(umask(old), 0777u);
}

}  // namespace
}  // namespace guest
