// sendfile(2), copy_file_range(2), fallocate(2): the cases at their borders.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "tests/util/guest.h"
#include "tests/util/memory.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

class CopyTest : public testing::Test {
 protected:
  CopyTest() {
    WriteFileText(dir_ / "in", "0123456789");
    in_.reset(open((dir_ / "in").c_str(), O_RDWR));
    out_.reset(open((dir_ / "out").c_str(), O_CREAT | O_RDWR, 0644));
    EXPECT_OK(pipe(pipe_));
  }
  ~CopyTest() override {
    close(pipe_[0]);
    close(pipe_[1]);
  }
  static long Range(int in, loff_t* from, int out, loff_t* to, size_t size, unsigned flags = 0) {
    return syscall(SYS_copy_file_range, in, from, out, to, size, flags);
  }
  TempDir dir_;
  ScopedFd in_{-1}, out_{-1};
  int pipe_[2];
};

TEST_F(CopyTest, SendfileToPipesAndSockets) {
  char text[16] = {};
  EXPECT_EQ(sendfile(pipe_[1], in_.get(), nullptr, 4), 4);
  EXPECT_EQ(read(pipe_[0], text, sizeof(text)), 4);
  EXPECT_STREQ(text, "0123");
  int pair[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  off_t offset = 8;
  EXPECT_EQ(sendfile(pair[0], in_.get(), &offset, 100), 2);
  EXPECT_EQ(offset, 10);
  EXPECT_EQ(sendfile(pair[0], in_.get(), &offset, 100), 0) << "at the end";
  EXPECT_EQ(read(pair[1], text, sizeof(text)), 2);
  close(pair[1]);
  signal(SIGPIPE, SIG_IGN);
  offset = 0;
  EXPECT_ERRNO(EPIPE, sendfile(pair[0], in_.get(), &offset, 1));
  signal(SIGPIPE, SIG_DFL);
  close(pair[0]);
}

TEST_F(CopyTest, SendfileChecks) {
  ScopedFd append(open((dir_ / "out").c_str(), O_WRONLY | O_APPEND)), path(open((dir_ / "in").c_str(), O_PATH));
  ScopedFd write_only(open((dir_ / "in").c_str(), O_WRONLY)), directory(open(dir_.path().c_str(), O_RDONLY));
  off_t offset = 0;
  EXPECT_ERRNO(EBADF, sendfile(out_.get(), -1, nullptr, 1));
  EXPECT_ERRNO(EBADF, sendfile(out_.get(), path.get(), nullptr, 1));
  EXPECT_ERRNO(EBADF, sendfile(out_.get(), write_only.get(), nullptr, 1));
  EXPECT_ERRNO(EINVAL, sendfile(append.get(), in_.get(), nullptr, 1));
  EXPECT_ERRNO(EINVAL, sendfile(out_.get(), pipe_[0], nullptr, 1)) << "from a pipe";
  EXPECT_ERRNO(ESPIPE, sendfile(out_.get(), pipe_[0], &offset, 1));
  EXPECT_ERRNO(EINVAL, sendfile(out_.get(), in_.get(), nullptr, SIZE_MAX));
  EXPECT_ERRNO(EINVAL, sendfile(out_.get(), directory.get(), nullptr, 1));
  EXPECT_EQ(sendfile(out_.get(), in_.get(), nullptr, 0), 0);
  offset = 100;
  EXPECT_EQ(sendfile(out_.get(), in_.get(), &offset, 5), 0) << "behind the end";
  EXPECT_EQ(offset, 100);
}

TEST_F(CopyTest, SendfileFromDevices) {
  ScopedFd zero(open("/dev/zero", O_RDONLY)), null(open("/dev/null", O_WRONLY));
  EXPECT_EQ(sendfile(out_.get(), zero.get(), nullptr, 5000), 5000);
  EXPECT_EQ(ReadFileText(dir_ / "out"), std::string(5000, '\0'));
  EXPECT_EQ(sendfile(null.get(), in_.get(), nullptr, 10), 10);
}

TEST_F(CopyTest, AFullPipeWaitsOrNot) {
  fcntl(pipe_[1], F_SETPIPE_SZ, 4096);
  ASSERT_OK(ftruncate(in_.get(), 100'000));
  fcntl(pipe_[1], F_SETFL, O_NONBLOCK);
  EXPECT_EQ(sendfile(pipe_[1], in_.get(), nullptr, 100'000), 4096);
  EXPECT_EQ(lseek(in_.get(), 0, SEEK_CUR), 4096);
  EXPECT_ERRNO(EAGAIN, sendfile(pipe_[1], in_.get(), nullptr, 1));
  fcntl(pipe_[1], F_SETFL, 0);
  Interrupter interrupter;
  EXPECT_ERRNO(EINTR, sendfile(pipe_[1], in_.get(), nullptr, 1));
  EXPECT_EQ(lseek(in_.get(), 0, SEEK_CUR), 4096) << "nothing taken";
}

TEST_F(CopyTest, RangeWithinAFile) {
  loff_t from = 0, to = 5;
  EXPECT_ERRNO(EINVAL, Range(in_.get(), &from, in_.get(), &to, 6)) << "overlap";
  EXPECT_EQ(Range(in_.get(), &from, in_.get(), &to, 5), 5);
  EXPECT_EQ(ReadFileText(dir_ / "in"), "0123401234");
  from = 8;
  to = 10;
  EXPECT_EQ(Range(in_.get(), &from, in_.get(), &to, 1000), 2) << "cut at the end before overlap is looked at";
  EXPECT_EQ(ReadFileText(dir_ / "in"), "012340123434");
  from = 1000;
  EXPECT_EQ(Range(in_.get(), &from, in_.get(), &to, 10), 0);
}

TEST_F(CopyTest, RangeChecks) {
  loff_t from = 0, to = 0, negative = -10, far = INT64_MAX - 5;
  ScopedFd append(open((dir_ / "out").c_str(), O_WRONLY | O_APPEND)), path(open((dir_ / "in").c_str(), O_PATH));
  ScopedFd write_only(open((dir_ / "in").c_str(), O_WRONLY)), directory(open(dir_.path().c_str(), O_RDONLY));
  EXPECT_ERRNO(EBADF, Range(-1, &from, out_.get(), &to, 1, 1));
  EXPECT_ERRNO(EBADF, Range(in_.get(), &from, -1, &to, 1));
  EXPECT_ERRNO(EFAULT, Range(in_.get(), static_cast<loff_t*>(BadPointer()), out_.get(), &to, 1, 1));
  EXPECT_ERRNO(EINVAL, Range(directory.get(), &from, out_.get(), &to, 1, 1)) << "flags first";
  EXPECT_ERRNO(EISDIR, Range(directory.get(), &from, out_.get(), &to, 1));
  EXPECT_ERRNO(EINVAL, Range(pipe_[0], nullptr, out_.get(), &to, 1));
  EXPECT_ERRNO(EINVAL, Range(in_.get(), &from, pipe_[1], nullptr, 1));
  EXPECT_ERRNO(EBADF, Range(path.get(), &from, out_.get(), &to, 1));
  EXPECT_ERRNO(EBADF, Range(write_only.get(), &from, out_.get(), &to, 1));
  EXPECT_ERRNO(EBADF, Range(in_.get(), &from, append.get(), &to, 1));
  EXPECT_ERRNO(EINVAL, Range(in_.get(), &negative, out_.get(), &to, 1));
  EXPECT_OK(Range(in_.get(), &far, out_.get(), &to, 10)) << "behind the end";
  EXPECT_ERRNO(EOVERFLOW, Range(in_.get(), &far, out_.get(), &to, SIZE_MAX));
  EXPECT_ERRNO(EFBIG, Range(in_.get(), &from, out_.get(), &far, 10));
  EXPECT_EQ(Range(in_.get(), &from, out_.get(), &to, 0), 0);
  EXPECT_EQ(Range(in_.get(), nullptr, out_.get(), nullptr, 100), 10);
  EXPECT_EQ(lseek(in_.get(), 0, SEEK_CUR), 10);
  EXPECT_EQ(lseek(out_.get(), 0, SEEK_CUR), 10);
}

// fallocate(2).

class FallocateTest : public CopyTest {
 protected:
  // errno of the call, or 0.
  int Allocate(int mode, off_t offset, off_t size) {
    return fallocate(out_.get(), mode, offset, size) == 0 ? 0 : errno;
  }
  off_t Size() {
    struct stat st = {};
    EXPECT_OK(fstat(out_.get(), &st));
    return st.st_size;
  }
};

TEST_F(FallocateTest, ZeroRange) {
  const std::string text(3 * kPage, 'x');
  ASSERT_EQ(pwrite(out_.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  const int error = Allocate(FALLOC_FL_ZERO_RANGE, 100, 5000);
  if (error == EOPNOTSUPP) return;  // tmpfs has none
  EXPECT_EQ(error, 0);
  EXPECT_EQ(ReadFileText(dir_ / "out"),
            std::string(100, 'x') + std::string(5000, '\0') + std::string(3 * kPage - 5100, 'x'));
  EXPECT_EQ(Allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 10 * kPage), 0);
  EXPECT_EQ(Size(), static_cast<off_t>(3 * kPage));
  EXPECT_EQ(Allocate(FALLOC_FL_ZERO_RANGE, 0, 5 * kPage), 0);
  EXPECT_EQ(Size(), static_cast<off_t>(5 * kPage));
}

TEST_F(FallocateTest, Checks) {
  EXPECT_EQ(Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE, 0, 1), EOPNOTSUPP);
  EXPECT_EQ(Allocate(0x100, 0, 1), EOPNOTSUPP);
  EXPECT_EQ(Allocate(0x100, -1, 1), EINVAL) << "the range first";
  EXPECT_EQ(Allocate(0, 0, -1), EINVAL);
  EXPECT_EQ(Allocate(0, INT64_MAX, 1), EFBIG);
  ScopedFd directory(open(dir_.path().c_str(), O_RDONLY)), path(open((dir_ / "in").c_str(), O_PATH));
  EXPECT_ERRNO(EBADF, fallocate(directory.get(), 0, 0, 1));
  EXPECT_ERRNO(EBADF, fallocate(path.get(), 0, 0, 1));
  EXPECT_ERRNO(EBADF, fallocate(pipe_[0], 0, 0, 1)) << "the reading end";
  ScopedFd null(open("/dev/null", O_RDWR));
  EXPECT_ERRNO(ENODEV, fallocate(null.get(), 0, 0, 1));
}

TEST_F(FallocateTest, AppendingDescriptorsMayPunch) {
  const std::string text(2 * kPage, 'x');
  ScopedFd append(open((dir_ / "out").c_str(), O_RDWR | O_APPEND));
  ASSERT_EQ(write(append.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  EXPECT_OK(fallocate(append.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPage));
  EXPECT_EQ(ReadFileText(dir_ / "out"), std::string(kPage, '\0') + std::string(kPage, 'x'));
}

}  // namespace
}  // namespace guest
