// ioctl(2) on pipes, sockets, files and devices; dup2(2) and close_range(2) under use.
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

class IoctlTest : public testing::Test {
 protected:
  IoctlTest() {
    WriteFileText(dir_ / "f", "0123456789");
    file_.reset(open((dir_ / "f").c_str(), O_RDWR));
    directory_.reset(open(dir_.path().c_str(), O_RDONLY));
    EXPECT_OK(pipe(pipe_));
    EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, stream_));
    EXPECT_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagram_));
  }
  ~IoctlTest() override {
    for (const int fd : {pipe_[0], pipe_[1], stream_[0], stream_[1], datagram_[0], datagram_[1]}) close(fd);
  }
  TempDir dir_;
  ScopedFd file_{-1}, directory_{-1};
  int pipe_[2], stream_[2], datagram_[2];
};

TEST_F(IoctlTest, BytesToRead) {
  int count = -1;
  ASSERT_EQ(write(pipe_[1], "12345", 5), 5);
  for (const int end : pipe_) {
    EXPECT_OK(ioctl(end, FIONREAD, &count));
    EXPECT_EQ(count, 5) << "at both ends";
  }
  ASSERT_EQ(write(stream_[0], "123", 3), 3);
  EXPECT_OK(ioctl(stream_[1], FIONREAD, &count));
  EXPECT_EQ(count, 3);
  ASSERT_EQ(write(datagram_[0], "1234", 4), 4);
  ASSERT_EQ(write(datagram_[0], "12", 2), 2);
  EXPECT_OK(ioctl(datagram_[1], FIONREAD, &count));
  EXPECT_EQ(count, 4) << "the first message";
  EXPECT_OK(ioctl(stream_[0], TIOCOUTQ, &count));
  EXPECT_GE(count, 3);
  lseek(file_.get(), 4, SEEK_SET);
  EXPECT_OK(ioctl(file_.get(), FIONREAD, &count));
  EXPECT_EQ(count, 6);
  lseek(file_.get(), 40, SEEK_SET);
  EXPECT_OK(ioctl(file_.get(), FIONREAD, &count));
  EXPECT_EQ(count, -30);
  EXPECT_ERRNO(ENOTTY, ioctl(directory_.get(), FIONREAD, &count));
  for (const int fd : {pipe_[0], stream_[0], file_.get()}) EXPECT_ERRNO(EFAULT, ioctl(fd, FIONREAD, BadPointer()));
}

TEST_F(IoctlTest, RequestsNobodyKnows) {
  for (const int fd : {pipe_[0], stream_[0], file_.get(), directory_.get()}) {
    struct termios settings;
    EXPECT_ERRNO(ENOTTY, ioctl(fd, TCGETS, &settings)) << fd;
    EXPECT_ERRNO(ENOTTY, ioctl(fd, 0x12345678, 0)) << fd;
  }
  ScopedFd null(open("/dev/null", O_RDWR)), path(open((dir_ / "f").c_str(), O_PATH));
  int count;
  EXPECT_ERRNO(ENOTTY, ioctl(null.get(), FIONREAD, &count));
  EXPECT_ERRNO(EBADF, ioctl(path.get(), FIONREAD, &count));
  EXPECT_ERRNO(EBADF, ioctl(-1, FIOCLEX));
  EXPECT_ERRNO(EBADF, ioctl(path.get(), FIOCLEX)) << "not even this";
}

TEST_F(IoctlTest, NonBlocking) {
  int on = 1, off = 0;
  char byte;
  EXPECT_OK(ioctl(pipe_[0], FIONBIO, &on));
  EXPECT_ERRNO(EAGAIN, read(pipe_[0], &byte, 1));
  EXPECT_OK(ioctl(pipe_[0], FIONBIO, &off));
  EXPECT_EQ(fcntl(pipe_[0], F_GETFL) & O_NONBLOCK, 0);
  EXPECT_ERRNO(ENOTTY, ioctl(file_.get(), FIOASYNC, &on));
}

TEST_F(IoctlTest, BlockSizeAndFlagsOfFiles) {
  int size = 0;
  EXPECT_OK(ioctl(file_.get(), FIGETBSZ, &size));
  EXPECT_GE(size, 512);
  EXPECT_OK(ioctl(directory_.get(), FIGETBSZ, &size));
  EXPECT_ERRNO(EFAULT, ioctl(file_.get(), FIGETBSZ, BadPointer()));
  ScopedFd out(open((dir_ / "g").c_str(), O_CREAT | O_RDWR, 0600));
  file_clone_range range = {-1, 0, 0, 0};
  EXPECT_ERRNO(EBADF, ioctl(out.get(), FICLONE, -1));
  EXPECT_ERRNO(EBADF, ioctl(out.get(), FICLONERANGE, &range));
  EXPECT_ERRNO(EFAULT, ioctl(out.get(), FICLONERANGE, BadPointer()));
  EXPECT_ERRNO(EISDIR, ioctl(out.get(), FICLONE, directory_.get()));
  EXPECT_ERRNO(EXDEV, ioctl(out.get(), FICLONE, pipe_[0]));
}

TEST_F(IoctlTest, DupClosesWhatWasThere) {
  const int reader = dup(pipe_[0]), free_later = dup(pipe_[1]);
  close(pipe_[1]);
  EXPECT_EQ(dup2(file_.get(), free_later), free_later) << "the last writer goes";
  char byte;
  EXPECT_EQ(read(reader, &byte, 1), 0);
  EXPECT_EQ(fcntl(free_later, F_GETFD), 0);
  EXPECT_EQ(dup3(file_.get(), free_later, O_CLOEXEC), free_later);
  EXPECT_EQ(fcntl(free_later, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(dup2(free_later, free_later), free_later);
  EXPECT_EQ(fcntl(free_later, F_GETFD), FD_CLOEXEC) << "onto itself changes nothing";
  close(reader);
  close(free_later);
  pipe_[1] = -1;
}

TEST_F(IoctlTest, CloseRangeUnshares) {
  const auto close_range = [](unsigned first, unsigned last, unsigned flags) {
    return syscall(SYS_close_range, first, last, flags);
  };
  EXPECT_ERRNO(EINVAL, close_range(5, 4, 0));
  EXPECT_ERRNO(EINVAL, close_range(5, 6, 0x100));
  EXPECT_OK(close_range(1000, ~0u, 0));
  int errors[2] = {};
  Helper([&] {
    EXPECT_OK(close_range(static_cast<unsigned>(pipe_[0]), ~0u, CLOSE_RANGE_UNSHARE));
    errors[0] = fcntl(pipe_[0], F_GETFD) < 0 ? errno : 0;
  }).Join();
  errors[1] = fcntl(pipe_[0], F_GETFD) < 0 ? errno : 0;
  EXPECT_EQ(errors[0], EBADF);
  EXPECT_EQ(errors[1], 0) << "the other thread keeps its table";
}

TEST_F(IoctlTest, AReadInProgressKeepsItsFile) {
  WhenAsleepIn late(SYS_read, [&] {
    // Onto the descriptor another thread reads from: that read goes on with the old file.
    dup2(file_.get(), pipe_[0]);
    (void)!write(pipe_[1], "p", 1);
  });
  char byte = 0;
  EXPECT_EQ(read(pipe_[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'p');
}

}  // namespace
}  // namespace guest
