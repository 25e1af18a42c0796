// sendfile(2), copy_file_range(2), splice(2), tee(2), vmsplice(2).
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

class SpliceTest : public testing::Test {
 protected:
  SpliceTest() {
    WriteFileText(dir_ / "in", "0123456789");
    in_.reset(open((dir_ / "in").c_str(), O_RDONLY));
    out_.reset(open((dir_ / "out").c_str(), O_CREAT | O_RDWR, 0644));
    EXPECT_OK(pipe(pipe_));
  }
  ~SpliceTest() override {
    close(pipe_[0]);
    close(pipe_[1]);
  }
  std::string Drain() {
    char buffer[64];
    fcntl(pipe_[0], F_SETFL, O_NONBLOCK);
    const ssize_t got = read(pipe_[0], buffer, sizeof(buffer));
    return got > 0 ? std::string(buffer, static_cast<size_t>(got)) : "";
  }
  TempDir dir_;
  ScopedFd in_{-1}, out_{-1};
  int pipe_[2];
};

TEST_F(SpliceTest, SendfileCopiesFromTheOffsetOrThePosition) {
  off_t offset = 2;
  EXPECT_EQ(sendfile(out_.get(), in_.get(), &offset, 3), 3);
  EXPECT_EQ(offset, 5);
  EXPECT_EQ(lseek(in_.get(), 0, SEEK_CUR), 0);
  EXPECT_EQ(sendfile(out_.get(), in_.get(), nullptr, 4), 4);
  EXPECT_EQ(lseek(in_.get(), 0, SEEK_CUR), 4);
  EXPECT_EQ(sendfile(out_.get(), in_.get(), nullptr, 100), 6);
  EXPECT_EQ(sendfile(out_.get(), in_.get(), nullptr, 100), 0);
  EXPECT_EQ(ReadFileText(dir_ / "out"), "2340123456789");
}

TEST_F(SpliceTest, SendfileErrors) {
  EXPECT_ERRNO(EBADF, sendfile(-1, in_.get(), nullptr, 1));
  EXPECT_ERRNO(EBADF, sendfile(in_.get(), in_.get(), nullptr, 1));
  EXPECT_ERRNO(EFAULT, sendfile(out_.get(), in_.get(), static_cast<off_t*>(BadPointer()), 1));
  off_t negative = -1;
  EXPECT_ERRNO(EINVAL, sendfile(out_.get(), in_.get(), &negative, 1));
}

TEST_F(SpliceTest, CopyFileRange) {
  off_t from = 1, to = 2;
  EXPECT_EQ(copy_file_range(in_.get(), &from, out_.get(), &to, 4, 0), 4);
  EXPECT_EQ(from, 5);
  EXPECT_EQ(to, 6);
  EXPECT_EQ(ReadFileText(dir_ / "out"), std::string("\0\0", 2) + "1234");
  EXPECT_ERRNO(EINVAL, copy_file_range(in_.get(), &from, out_.get(), &to, 4, 1));
  EXPECT_ERRNO(EINVAL, copy_file_range(pipe_[0], nullptr, out_.get(), &to, 4, 0));
  EXPECT_ERRNO(EBADF, copy_file_range(in_.get(), &from, in_.get(), &to, 4, 0));
  off_t overlap = 1;
  from = 0;
  EXPECT_ERRNO(EINVAL, copy_file_range(out_.get(), &from, out_.get(), &overlap, 4, 0));
}

TEST_F(SpliceTest, SpliceBetweenFileAndPipe) {
  loff_t offset = 3;
  EXPECT_EQ(splice(in_.get(), &offset, pipe_[1], nullptr, 4, 0), 4);
  EXPECT_EQ(offset, 7);
  EXPECT_EQ(splice(in_.get(), nullptr, pipe_[1], nullptr, 2, 0), 2);
  EXPECT_EQ(splice(pipe_[0], nullptr, out_.get(), nullptr, 100, 0), 6);
  EXPECT_EQ(ReadFileText(dir_ / "out"), "345601");
}

TEST_F(SpliceTest, SpliceAndTeeBetweenPipes) {
  int other[2];
  ASSERT_OK(pipe(other));
  ASSERT_EQ(write(pipe_[1], "abcdef", 6), 6);
  EXPECT_EQ(tee(pipe_[0], other[1], 4, 0), 4);
  EXPECT_EQ(splice(pipe_[0], nullptr, other[1], nullptr, 100, 0), 6);
  char text[16] = {};
  EXPECT_EQ(read(other[0], text, sizeof(text)), 10);
  EXPECT_STREQ(text, "abcdabcdef");
  EXPECT_ERRNO(EINVAL, splice(pipe_[0], nullptr, pipe_[1], nullptr, 1, 0));
  EXPECT_ERRNO(EAGAIN, tee(pipe_[0], other[1], 4, SPLICE_F_NONBLOCK));
  close(other[0]);
  close(other[1]);
}

TEST_F(SpliceTest, SpliceErrors) {
  loff_t offset = 0;
  EXPECT_ERRNO(EINVAL, splice(in_.get(), nullptr, out_.get(), nullptr, 1, 0));
  EXPECT_ERRNO(ESPIPE, splice(pipe_[0], &offset, out_.get(), nullptr, 1, 0));
  EXPECT_ERRNO(EBADF, splice(-1, nullptr, out_.get(), nullptr, 1, 0));
  EXPECT_ERRNO(EINVAL, splice(in_.get(), nullptr, pipe_[1], nullptr, 1, 0x100));
  EXPECT_ERRNO(EAGAIN, splice(pipe_[0], nullptr, out_.get(), nullptr, 1, SPLICE_F_NONBLOCK));
  EXPECT_ERRNO(EFAULT, splice(in_.get(), static_cast<loff_t*>(BadPointer()), pipe_[1], nullptr, 1, 0));
  EXPECT_EQ(splice(in_.get(), nullptr, pipe_[1], nullptr, 0, 0), 0);
}

TEST_F(SpliceTest, AWaitingSpliceIsInterrupted) {
  Interrupter interrupter;
  EXPECT_ERRNO(EINTR, splice(pipe_[0], nullptr, out_.get(), nullptr, 1, 0));
}

TEST_F(SpliceTest, VmspliceWritesMemory) {
  char text[] = "hello";
  iovec iov = {text, 5};
  EXPECT_EQ(vmsplice(pipe_[1], &iov, 1, 0), 5);
  EXPECT_EQ(Drain(), "hello");
  EXPECT_ERRNO(EBADF, vmsplice(out_.get(), &iov, 1, 0));
}

}  // namespace
}  // namespace guest
