// truncate(2), ftruncate(2), fallocate(2), fsync(2) and the advisory calls.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

class TruncateTest : public testing::Test {
 protected:
  TruncateTest() : fd_((WriteFileText(file_, "0123456789"), open(file_.c_str(), O_RDWR))) {}
  struct stat Stat() {
    struct stat st = {};
    EXPECT_OK(fstat(fd_.get(), &st));
    return st;
  }
  TempDir dir_;
  const std::string file_ = dir_ / "file";
  ScopedFd fd_;
};

TEST_F(TruncateTest, CutsAndExtendsWithZeros) {
  ASSERT_OK(truncate(file_.c_str(), 4));
  ASSERT_OK(ftruncate(fd_.get(), 8));
  EXPECT_EQ(ReadFileText(file_), std::string("0123\0\0\0\0", 8));
}

TEST_F(TruncateTest, Errors) {
  EXPECT_ERRNO(EINVAL, truncate(file_.c_str(), -1));
  EXPECT_ERRNO(EINVAL, ftruncate(fd_.get(), -1));
  EXPECT_ERRNO(EISDIR, truncate(dir_.path().c_str(), 0));
  EXPECT_ERRNO(ENOENT, truncate((dir_ / "none").c_str(), 0));
  ScopedFd read_only(open(file_.c_str(), O_RDONLY));
  EXPECT_ERRNO(EINVAL, ftruncate(read_only.get(), 0));
  EXPECT_ERRNO(EBADF, ftruncate(-1, 0));
  EXPECT_ERRNO(ETXTBSY, truncate("/proc/self/exe", 0));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EACCES, truncate(file_.c_str(), 0));
              return 0;
            }),
            0);
}

TEST_F(TruncateTest, FallocateExtendsUnlessToldNotTo) {
  ASSERT_OK(fallocate(fd_.get(), 0, 0, 100));
  EXPECT_EQ(Stat().st_size, 100);
  ASSERT_OK(fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, 0, 20000));
  EXPECT_EQ(Stat().st_size, 100);
  EXPECT_GE(Stat().st_blocks * 512, 20000);
}

TEST_F(TruncateTest, PunchedHolesReadAsZeros) {
  ASSERT_EQ(pwrite(fd_.get(), std::string(12288, 'x').data(), 12288, 0), 12288);
  ASSERT_OK(fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4000, 5000));
  const std::string text = ReadFileText(file_);
  EXPECT_EQ(text, std::string(4000, 'x') + std::string(5000, '\0') + std::string(3288, 'x'));
}

TEST_F(TruncateTest, FallocateErrors) {
  EXPECT_ERRNO(EINVAL, fallocate(fd_.get(), 0, -1, 10));
  EXPECT_ERRNO(EINVAL, fallocate(fd_.get(), 0, 0, 0));
  EXPECT_ERRNO(EOPNOTSUPP, fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE, 0, 10));
  EXPECT_ERRNO(EFBIG, fallocate(fd_.get(), 0, INT64_MAX, 10));
  ScopedFd read_only(open(file_.c_str(), O_RDONLY));
  EXPECT_ERRNO(EBADF, fallocate(read_only.get(), 0, 0, 10));
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  EXPECT_ERRNO(ESPIPE, fallocate(pipes[1], 0, 0, 10));
  EXPECT_ERRNO(EINVAL, fsync(pipes[1]));
  EXPECT_ERRNO(ESPIPE, posix_fadvise(pipes[1], 0, 0, 0) == ESPIPE ? (errno = ESPIPE, -1) : 0);
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(TruncateTest, SyncCallsSucceed) {
  EXPECT_OK(fsync(fd_.get()));
  EXPECT_OK(fdatasync(fd_.get()));
  EXPECT_OK(syncfs(fd_.get()));
  EXPECT_OK(sync_file_range(fd_.get(), 0, 0, SYNC_FILE_RANGE_WRITE));
  EXPECT_OK(posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_SEQUENTIAL));
  EXPECT_EQ(posix_fadvise(fd_.get(), 0, 0, 77), EINVAL);
  EXPECT_OK(readahead(fd_.get(), 0, 4096));
  EXPECT_ERRNO(EBADF, fsync(-1));
  EXPECT_ERRNO(EINVAL, sync_file_range(fd_.get(), 0, 0, 0x100));
}

}  // namespace
}  // namespace guest
