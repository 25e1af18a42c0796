// stat(2), lstat(2), fstat(2), fstatat(2), statx(2), statfs(2), access(2).
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

class StatTest : public testing::Test {
 protected:
  StatTest() {
    WriteFileText(dir_ / "file", "hello");
    EXPECT_OK(symlink("file", (dir_ / "link").c_str()));
  }
  TempDir dir_;
};

TEST_F(StatTest, AllFormsAgree) {
  struct stat a, b, c, d;
  ASSERT_OK(stat((dir_ / "link").c_str(), &a));
  ASSERT_OK(lstat((dir_ / "file").c_str(), &b));
  ScopedFd fd(open((dir_ / "file").c_str(), O_RDONLY));
  ASSERT_OK(fstat(fd.get(), &c));
  ASSERT_OK(fstatat(fd.get(), "", &d, AT_EMPTY_PATH));
  for (const struct stat& st : {b, c, d}) {
    EXPECT_EQ(st.st_ino, a.st_ino);
    EXPECT_EQ(st.st_dev, a.st_dev);
    EXPECT_EQ(st.st_size, 5);
    EXPECT_EQ(st.st_mtim.tv_nsec, a.st_mtim.tv_nsec);
  }
  EXPECT_TRUE(S_ISREG(a.st_mode));
  EXPECT_EQ(a.st_nlink, 1u);
  EXPECT_EQ(a.st_uid, getuid());
}

TEST_F(StatTest, LinksHaveTheLengthOfTheirText) {
  struct stat st;
  ASSERT_OK(lstat((dir_ / "link").c_str(), &st));
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  EXPECT_EQ(st.st_size, 4);
  EXPECT_EQ(st.st_mode & 0777, 0777u);
}

TEST_F(StatTest, DirectoriesCountTheirSubdirectories) {
  struct stat before, after;
  ASSERT_OK(stat(dir_.path().c_str(), &before));
  ASSERT_OK(mkdir((dir_ / "sub").c_str(), 0755));
  ASSERT_OK(stat(dir_.path().c_str(), &after));
  EXPECT_TRUE(S_ISDIR(after.st_mode));
  // btrfs and overlay count 1 for all directories.
  if (before.st_nlink >= 2) {
    EXPECT_EQ(after.st_nlink, before.st_nlink + 1);
  }
}

TEST_F(StatTest, Errors) {
  struct stat st;
  EXPECT_ERRNO(ENOENT, stat((dir_ / "none").c_str(), &st));
  EXPECT_ERRNO(ENOENT, stat("", &st));
  EXPECT_ERRNO(EFAULT, stat(static_cast<char*>(BadPointer()), &st));
  EXPECT_ERRNO(EFAULT, syscall(SYS_stat, (dir_ / "file").c_str(), BadPointer()));
  EXPECT_ERRNO(EBADF, fstat(-1, &st));
  EXPECT_ERRNO(ENOTDIR, stat((dir_ / "file/x").c_str(), &st));
  EXPECT_ERRNO(EINVAL, fstatat(AT_FDCWD, dir_.path().c_str(), &st, 0x40000000));
  EXPECT_ERRNO(ENOENT, fstatat(AT_FDCWD, "", &st, 0));
  EXPECT_OK(fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH));
}

TEST_F(StatTest, StatxTellsTheSameAndMore) {
  struct statx stx;
  struct stat st;
  ASSERT_OK(statx(AT_FDCWD, (dir_ / "file").c_str(), 0, STATX_ALL, &stx));
  ASSERT_OK(stat((dir_ / "file").c_str(), &st));
  EXPECT_EQ(stx.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  EXPECT_EQ(stx.stx_ino, st.st_ino);
  EXPECT_EQ(stx.stx_size, 5u);
  EXPECT_EQ(makedev(stx.stx_dev_major, stx.stx_dev_minor), st.st_dev);
  EXPECT_EQ(stx.stx_mtime.tv_nsec, st.st_mtim.tv_nsec);
  EXPECT_ERRNO(EINVAL, statx(AT_FDCWD, "x", 0, 0x80000000u, &stx));
  EXPECT_ERRNO(EINVAL, statx(AT_FDCWD, "x", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &stx));
  EXPECT_ERRNO(EFAULT, statx(AT_FDCWD, dir_.path().c_str(), 0, 0, static_cast<struct statx*>(BadPointer())));
}

TEST_F(StatTest, PipesAndDevicesHaveTypes) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  struct stat st;
  ASSERT_OK(fstat(pipes[0], &st));
  EXPECT_TRUE(S_ISFIFO(st.st_mode));
  ASSERT_OK(stat(("/proc/self/fd/" + std::to_string(pipes[0])).c_str(), &st));
  EXPECT_TRUE(S_ISFIFO(st.st_mode));
  close(pipes[0]);
  close(pipes[1]);
  ASSERT_OK(stat("/dev/null", &st));
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  EXPECT_EQ(st.st_rdev, makedev(1, 3));
}

TEST_F(StatTest, StatfsDescribesTheFileSystem) {
  struct statfs a, b;
  ASSERT_OK(statfs(dir_.path().c_str(), &a));
  ScopedFd fd(open(dir_.path().c_str(), O_RDONLY));
  ASSERT_OK(fstatfs(fd.get(), &b));
  EXPECT_EQ(a.f_type, b.f_type);
  EXPECT_GT(a.f_bsize, 0);
  EXPECT_EQ(a.f_namelen, 255);
  EXPECT_ERRNO(ENOENT, statfs((dir_ / "none").c_str(), &a));
  EXPECT_ERRNO(EBADF, fstatfs(-1, &a));
  EXPECT_ERRNO(EFAULT, statfs("/", static_cast<struct statfs*>(BadPointer())));
  ASSERT_OK(statfs("/proc", &a));
  EXPECT_EQ(a.f_type, 0x9fa0);
}

TEST_F(StatTest, AccessUsesTheRealIds) {
  const std::string file = dir_ / "file";
  EXPECT_OK(access(file.c_str(), R_OK | W_OK));
  EXPECT_ERRNO(EACCES, access(file.c_str(), X_OK));  // root needs one execute bit too
  EXPECT_ERRNO(EINVAL, access(file.c_str(), 8));
  EXPECT_ERRNO(ENOENT, access((dir_ / "none").c_str(), F_OK));
  ASSERT_OK(chmod(file.c_str(), 0600));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_OK(access(file.c_str(), F_OK));
              EXPECT_ERRNO(EACCES, access(file.c_str(), R_OK));
              return 0;
            }),
            0);
  EXPECT_EQ(RunInChild([&] {
              if (setresuid(65534, 0, 0) != 0) return 1;
              EXPECT_ERRNO(EACCES, access(file.c_str(), R_OK));
              EXPECT_OK(syscall(SYS_faccessat2, AT_FDCWD, file.c_str(), R_OK, AT_EACCESS));
              return 0;
            }),
            0);
}

TEST_F(StatTest, SearchPermissionIsNeededOnTheWay) {
  ASSERT_OK(mkdir((dir_ / "closed").c_str(), 0700));
  WriteFileText(dir_ / "closed/inner", "");
  EXPECT_EQ(RunAsNobody([&] {
              struct stat st;
              EXPECT_ERRNO(EACCES, stat((dir_ / "closed/inner").c_str(), &st));
              EXPECT_ERRNO(EACCES, stat((dir_ / "closed/none").c_str(), &st));
              EXPECT_OK(stat((dir_ / "closed").c_str(), &st));
              return 0;
            }),
            0);
}

}  // namespace
}  // namespace guest
