// mkdir(2), mknod(2), rmdir(2), unlink(2).
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

class NodeTest : public testing::Test {
 protected:
  NodeTest() { WriteFileText(dir_ / "file", "x"); }
  TempDir dir_;
};

TEST_F(NodeTest, MkdirHonoursUmaskAndSetgid) {
  const mode_t old = umask(022);
  ASSERT_OK(mkdir((dir_ / "d").c_str(), 0777));
  struct stat st;
  ASSERT_OK(stat((dir_ / "d").c_str(), &st));
  EXPECT_EQ(st.st_mode, S_IFDIR | 0755u);
  ASSERT_OK(chown((dir_ / "d").c_str(), 0, 1234));
  ASSERT_OK(chmod((dir_ / "d").c_str(), 02755));
  ASSERT_OK(mkdir((dir_ / "d/e").c_str(), 0777));
  ASSERT_OK(stat((dir_ / "d/e").c_str(), &st));
  EXPECT_EQ(st.st_gid, 1234u);
  EXPECT_EQ(st.st_mode, S_IFDIR | 02755u);
  umask(old);
}

TEST_F(NodeTest, MkdirErrors) {
  EXPECT_ERRNO(EEXIST, mkdir((dir_ / "file").c_str(), 0755));
  EXPECT_ERRNO(EEXIST, mkdir((dir_ / ".").c_str(), 0755));
  EXPECT_ERRNO(EEXIST, mkdir("/", 0755));
  EXPECT_ERRNO(ENOENT, mkdir((dir_ / "a/b").c_str(), 0755));
  EXPECT_ERRNO(ENOENT, mkdir("", 0755));
  EXPECT_ERRNO(ENOTDIR, mkdir((dir_ / "file/b").c_str(), 0755));
  EXPECT_ERRNO(EFAULT, mkdir(static_cast<char*>(BadPointer()), 0755));
  EXPECT_OK(mkdir((dir_ / "slash/").c_str(), 0755));
  ASSERT_OK(symlink("nowhere", (dir_ / "dangling").c_str()));
  EXPECT_ERRNO(EEXIST, mkdir((dir_ / "dangling").c_str(), 0755));
}

TEST_F(NodeTest, RmdirErrors) {
  ASSERT_OK(mkdir((dir_ / "d").c_str(), 0755));
  WriteFileText(dir_ / "d/f", "");
  EXPECT_ERRNO(ENOTEMPTY, rmdir((dir_ / "d").c_str()));
  EXPECT_ERRNO(ENOTDIR, rmdir((dir_ / "file").c_str()));
  EXPECT_ERRNO(EINVAL, rmdir((dir_ / "d/.").c_str()));
  EXPECT_ERRNO(ENOTEMPTY, rmdir((dir_ / "d/..").c_str()));
  EXPECT_ERRNO(EBUSY, rmdir("/"));
  EXPECT_ERRNO(ENOENT, rmdir((dir_ / "none").c_str()));
  ASSERT_OK(unlink((dir_ / "d/f").c_str()));
  EXPECT_OK(rmdir((dir_ / "d/").c_str()));
}

TEST_F(NodeTest, UnlinkErrors) {
  ASSERT_OK(mkdir((dir_ / "d").c_str(), 0755));
  EXPECT_ERRNO(EISDIR, unlink((dir_ / "d").c_str()));
  EXPECT_ERRNO(EISDIR, unlink((dir_ / "d/.").c_str()));
  EXPECT_ERRNO(ENOTDIR, unlink((dir_ / "file/").c_str()));
  EXPECT_ERRNO(ENOENT, unlink((dir_ / "none").c_str()));
  EXPECT_ERRNO(EINVAL, unlinkat(AT_FDCWD, (dir_ / "file").c_str(), 1));
  EXPECT_OK(unlinkat(AT_FDCWD, (dir_ / "d").c_str(), AT_REMOVEDIR));
}

TEST_F(NodeTest, AnOpenFileOutlivesItsName) {
  ScopedFd fd(open((dir_ / "file").c_str(), O_RDWR));
  ASSERT_OK(unlink((dir_ / "file").c_str()));
  struct stat st;
  ASSERT_OK(fstat(fd.get(), &st));
  EXPECT_EQ(st.st_nlink, 0u);
  char byte;
  EXPECT_EQ(read(fd.get(), &byte, 1), 1);
}

TEST_F(NodeTest, StickyDirectoriesProtectOthersFiles) {
  ASSERT_OK(mkdir((dir_ / "sticky").c_str(), 0755));
  ASSERT_OK(chmod((dir_ / "sticky").c_str(), 01777));
  WriteFileText(dir_ / "sticky/root", "");
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, unlink((dir_ / "sticky/root").c_str()));
              EXPECT_ERRNO(EPERM, rename((dir_ / "sticky/root").c_str(), (dir_ / "sticky/mine").c_str()));
              const int fd = open((dir_ / "sticky/own").c_str(), O_CREAT | O_WRONLY, 0644);
              EXPECT_GE(fd, 0);
              EXPECT_OK(unlink((dir_ / "sticky/own").c_str()));
              return 0;
            }),
            0);
}

TEST_F(NodeTest, MknodMakesEveryType) {
  ASSERT_OK(mknod((dir_ / "regular").c_str(), 0644, 0));
  ASSERT_OK(mknod((dir_ / "fifo").c_str(), S_IFIFO | 0644, 0));
  ASSERT_OK(mknod((dir_ / "socket").c_str(), S_IFSOCK | 0644, 0));
  struct stat st;
  ASSERT_OK(stat((dir_ / "regular").c_str(), &st));
  EXPECT_TRUE(S_ISREG(st.st_mode));
  ASSERT_OK(stat((dir_ / "fifo").c_str(), &st));
  EXPECT_TRUE(S_ISFIFO(st.st_mode));
  EXPECT_ERRNO(ENXIO, open((dir_ / "socket").c_str(), O_RDWR));
  EXPECT_ERRNO(EPERM, mknod((dir_ / "dir").c_str(), S_IFDIR | 0755, 0));
  EXPECT_ERRNO(EEXIST, mknod((dir_ / "file").c_str(), S_IFREG | 0644, 0));
  EXPECT_ERRNO(EINVAL, mknod((dir_ / "odd").c_str(), S_IFLNK | 0644, 0));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, mknod((dir_ / "dev").c_str(), S_IFCHR | 0644, makedev(1, 3)));
              return 0;
            }),
            0);
}

TEST_F(NodeTest, ADirectoryWithoutWritePermissionTakesNothing) {
  ASSERT_OK(mkdir((dir_ / "closed").c_str(), 0755));
  WriteFileText(dir_ / "closed/f", "");
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EACCES, mkdir((dir_ / "closed/d").c_str(), 0755));
              EXPECT_ERRNO(EACCES, unlink((dir_ / "closed/f").c_str()));
              EXPECT_ERRNO(EACCES, open((dir_ / "closed/g").c_str(), O_CREAT | O_WRONLY, 0644));
              EXPECT_ERRNO(EEXIST, mkdir((dir_ / "closed/f").c_str(), 0755));
              return 0;
            }),
            0);
}

TEST_F(NodeTest, ARemovedWorkingDirectoryTakesNothing) {
  EXPECT_EQ(RunInChild([&] {
              const std::string gone = dir_ / "gone";
              if (mkdir(gone.c_str(), 0755) != 0 || chdir(gone.c_str()) != 0 || rmdir(gone.c_str()) != 0) return 1;
              EXPECT_ERRNO(ENOENT, mkdir("x", 0755));
              EXPECT_ERRNO(ENOENT, open("x", O_CREAT | O_WRONLY, 0644));
              char buffer[256];
              EXPECT_EQ(getcwd(buffer, sizeof(buffer)), nullptr);
              EXPECT_EQ(errno, ENOENT);
              EXPECT_OK(chdir(".."));
              return 0;
            }),
            0);
}

}  // namespace
}  // namespace guest
