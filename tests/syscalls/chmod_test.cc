// chmod(2), chown(2), utimensat(2) and their relatives.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

class AttributeTest : public testing::Test {
 protected:
  AttributeTest() { WriteFileText(file_, "x"); }
  struct stat Stat() {
    struct stat st = {};
    EXPECT_OK(stat(file_.c_str(), &st));
    return st;
  }
  TempDir dir_;
  const std::string file_ = dir_ / "file";
};

TEST_F(AttributeTest, ChmodSetsAllTwelveBits) {
  ASSERT_OK(chmod(file_.c_str(), 07777));
  EXPECT_EQ(Stat().st_mode, S_IFREG | 07777u);
  ScopedFd fd(open(file_.c_str(), O_RDONLY));
  ASSERT_OK(fchmod(fd.get(), 0640));
  EXPECT_EQ(Stat().st_mode, S_IFREG | 0640u);
  EXPECT_ERRNO(ENOENT, chmod((dir_ / "none").c_str(), 0600));
  EXPECT_ERRNO(EFAULT, chmod(static_cast<char*>(BadPointer()), 0600));
  EXPECT_ERRNO(EBADF, fchmod(-1, 0600));
}

TEST_F(AttributeTest, OnlyTheOwnerMayChmod) {
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, chmod(file_.c_str(), 0777));
              EXPECT_ERRNO(EPERM, chown(file_.c_str(), getuid(), -1));
              EXPECT_OK(chown(file_.c_str(), -1, -1));
              return 0;
            }),
            0);
}

TEST_F(AttributeTest, ChownClearsSetIdBits) {
  ASSERT_OK(chmod(file_.c_str(), 06755));
  ASSERT_OK(chown(file_.c_str(), 1000, 1001));
  EXPECT_EQ(Stat().st_uid, 1000u);
  EXPECT_EQ(Stat().st_gid, 1001u);
  EXPECT_EQ(Stat().st_mode & 07777, 0755u);
  ASSERT_OK(chown(file_.c_str(), -1, 5));
  EXPECT_EQ(Stat().st_uid, 1000u);
  EXPECT_EQ(Stat().st_gid, 5u);
}

TEST_F(AttributeTest, LchownChangesTheLink) {
  ASSERT_OK(symlink("file", (dir_ / "link").c_str()));
  ASSERT_OK(lchown((dir_ / "link").c_str(), 77, 78));
  struct stat st;
  ASSERT_OK(lstat((dir_ / "link").c_str(), &st));
  EXPECT_EQ(st.st_uid, 77u);
  EXPECT_EQ(Stat().st_uid, getuid());
}

TEST_F(AttributeTest, AnOwnerMayGiveTheFileToHisGroupOnly) {
  ASSERT_OK(chown(file_.c_str(), 65534, 65534));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_OK(chmod(file_.c_str(), 0600));
              EXPECT_OK(chown(file_.c_str(), -1, 65534));
              EXPECT_ERRNO(EPERM, chown(file_.c_str(), -1, 0));
              EXPECT_ERRNO(EPERM, chown(file_.c_str(), 0, -1));
              return 0;
            }),
            0);
}

TEST_F(AttributeTest, UtimensatSetsNanoseconds) {
  const timespec times[2] = {{1000, 123456789}, {2000, 987654321}};
  ASSERT_OK(utimensat(AT_FDCWD, file_.c_str(), times, 0));
  EXPECT_EQ(Stat().st_atim.tv_sec, 1000);
  EXPECT_EQ(Stat().st_atim.tv_nsec, 123456789);
  EXPECT_EQ(Stat().st_mtim.tv_nsec, 987654321);
  const timespec omit[2] = {{0, UTIME_OMIT}, {3000, 1}};
  ASSERT_OK(utimensat(AT_FDCWD, file_.c_str(), omit, 0));
  EXPECT_EQ(Stat().st_atim.tv_sec, 1000);
  EXPECT_EQ(Stat().st_mtim.tv_sec, 3000);
  const timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  ASSERT_OK(utimensat(AT_FDCWD, file_.c_str(), now, 0));
  EXPECT_LE(std::abs(Stat().st_atim.tv_sec - time(nullptr)), 5);
}

TEST_F(AttributeTest, UtimensatErrors) {
  const timespec bad[2] = {{0, 1'000'000'000}, {0, 0}};
  EXPECT_ERRNO(EINVAL, utimensat(AT_FDCWD, file_.c_str(), bad, 0));
  EXPECT_ERRNO(EFAULT, syscall(SYS_utimensat, AT_FDCWD, file_.c_str(), BadPointer(), 0));
  EXPECT_ERRNO(ENOENT, utimensat(AT_FDCWD, (dir_ / "none").c_str(), nullptr, 0));
  ScopedFd fd(open(file_.c_str(), O_RDONLY));
  EXPECT_OK(futimens(fd.get(), nullptr));
  ASSERT_OK(chmod(file_.c_str(), 0666));
  EXPECT_EQ(RunAsNobody([&] {
              const timespec times[2] = {{1, 0}, {1, 0}};
              EXPECT_ERRNO(EPERM, utimensat(AT_FDCWD, file_.c_str(), times, 0));
              EXPECT_OK(utimensat(AT_FDCWD, file_.c_str(), nullptr, 0));  // write permission is enough for "now"
              return 0;
            }),
            0);
  ASSERT_OK(chmod(file_.c_str(), 0644));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EACCES, utimensat(AT_FDCWD, file_.c_str(), nullptr, 0));
              return 0;
            }),
            0);
}

TEST_F(AttributeTest, OldFormsWork) {
  const utimbuf seconds = {10, 20};
  ASSERT_OK(utime(file_.c_str(), &seconds));
  EXPECT_EQ(Stat().st_mtim.tv_sec, 20);
  const timeval micro[2] = {{30, 5}, {40, 6}};
  ASSERT_OK(utimes(file_.c_str(), micro));
  EXPECT_EQ(Stat().st_atim.tv_nsec, 5000);
  const timeval bad[2] = {{30, 1'000'000}, {40, 6}};
  EXPECT_ERRNO(EINVAL, utimes(file_.c_str(), bad));
}

TEST_F(AttributeTest, ChangesMoveTheChangeTime) {
  const timespec old[2] = {{1000, 0}, {1000, 0}};
  ASSERT_OK(utimensat(AT_FDCWD, file_.c_str(), old, 0));
  const struct stat before = Stat();
  const auto later = [&before](const timespec& time) {
    return time.tv_sec > before.st_ctim.tv_sec ||
           (time.tv_sec == before.st_ctim.tv_sec && time.tv_nsec > before.st_ctim.tv_nsec);
  };
  // Times of files are those of the last tick.
  timespec tick;
  do {
    clock_gettime(CLOCK_REALTIME_COARSE, &tick);
  } while (!later(tick));
  ASSERT_OK(chmod(file_.c_str(), 0600));
  const struct stat after = Stat();
  EXPECT_TRUE(later(after.st_ctim));
  EXPECT_EQ(after.st_mtim.tv_sec, 1000);
}

}  // namespace
}  // namespace guest
