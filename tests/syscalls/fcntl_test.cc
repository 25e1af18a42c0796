// dup(2), fcntl(2), ioctl(2) on any file.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

class FcntlTest : public testing::Test {
 protected:
  FcntlTest() : fd_(open((dir_ / "file").c_str(), O_CREAT | O_RDWR | O_APPEND, 0644)) {}
  TempDir dir_;
  ScopedFd fd_;
};

TEST_F(FcntlTest, DupForms) {
  ScopedFd a(dup(fd_.get()));
  EXPECT_EQ(fcntl(a.get(), F_GETFD), 0);
  ScopedFd b(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 100));
  EXPECT_EQ(b.get(), 100);
  EXPECT_EQ(fcntl(b.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(dup2(fd_.get(), 101), 101);
  EXPECT_EQ(dup2(101, 101), 101);
  EXPECT_EQ(dup3(fd_.get(), 101, O_CLOEXEC), 101);
  EXPECT_EQ(fcntl(101, F_GETFD), FD_CLOEXEC);
  close(101);
  EXPECT_ERRNO(EBADF, dup(101));
  EXPECT_ERRNO(EBADF, dup2(101, 102));
  EXPECT_ERRNO(EBADF, dup2(101, 101));
  EXPECT_ERRNO(EBADF, dup2(fd_.get(), -1));
  EXPECT_ERRNO(EINVAL, dup3(fd_.get(), fd_.get(), 0));
  EXPECT_ERRNO(EINVAL, dup3(fd_.get(), 102, O_APPEND));
  EXPECT_ERRNO(EINVAL, fcntl(fd_.get(), F_DUPFD, -1));
}

TEST_F(FcntlTest, StatusFlagsAreShared) {
  ScopedFd twin(dup(fd_.get()));
  EXPECT_EQ(fcntl(fd_.get(), F_GETFL) & (O_ACCMODE | O_APPEND | O_CREAT), O_RDWR | O_APPEND);
  EXPECT_OK(fcntl(fd_.get(), F_SETFL, O_NONBLOCK));
  EXPECT_EQ(fcntl(twin.get(), F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE), O_NONBLOCK | O_RDWR);
  int off = 0;
  EXPECT_OK(ioctl(twin.get(), FIONBIO, &off));
  EXPECT_EQ(fcntl(fd_.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_ERRNO(EFAULT, ioctl(twin.get(), FIONBIO, BadPointer()));
}

TEST_F(FcntlTest, CloseOnExecIsPerDescriptor) {
  ScopedFd twin(dup(fd_.get()));
  EXPECT_OK(fcntl(fd_.get(), F_SETFD, FD_CLOEXEC));
  EXPECT_EQ(fcntl(twin.get(), F_GETFD), 0);
  EXPECT_OK(ioctl(twin.get(), FIOCLEX));
  EXPECT_EQ(fcntl(twin.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_OK(ioctl(twin.get(), FIONCLEX));
  EXPECT_EQ(fcntl(twin.get(), F_GETFD), 0);
}

TEST_F(FcntlTest, Errors) {
  EXPECT_ERRNO(EBADF, fcntl(-1, F_GETFL));
  EXPECT_ERRNO(EINVAL, fcntl(fd_.get(), 9999));
  EXPECT_ERRNO(EBADF, fcntl(fd_.get(), F_GETPIPE_SZ));
  EXPECT_ERRNO(ENOTTY, ioctl(fd_.get(), TIOCGWINSZ, nullptr));
  EXPECT_ERRNO(EBADF, ioctl(-1, FIONBIO, nullptr));
}

TEST_F(FcntlTest, FionreadCountsWhatIsLeft) {
  ASSERT_EQ(write(fd_.get(), "12345", 5), 5);
  lseek(fd_.get(), 2, SEEK_SET);
  int left = 0;
  EXPECT_OK(ioctl(fd_.get(), FIONREAD, &left));
  EXPECT_EQ(left, 3);
}

TEST_F(FcntlTest, OwnersOfSignalsAreKept) {
  EXPECT_EQ(fcntl(fd_.get(), F_GETOWN), 0);
  EXPECT_OK(fcntl(fd_.get(), F_SETOWN, getpid()));
  EXPECT_EQ(fcntl(fd_.get(), F_GETOWN), getpid());
  EXPECT_OK(fcntl(fd_.get(), F_SETSIG, SIGUSR1));
  EXPECT_EQ(fcntl(fd_.get(), F_GETSIG), SIGUSR1);
  EXPECT_ERRNO(EINVAL, fcntl(fd_.get(), F_SETSIG, 65));
}

TEST_F(FcntlTest, PipeSizes) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  EXPECT_EQ(fcntl(pipes[0], F_GETPIPE_SZ), 65536);
  EXPECT_EQ(fcntl(pipes[1], F_SETPIPE_SZ, 5000), 8192);
  EXPECT_EQ(fcntl(pipes[0], F_GETPIPE_SZ), 8192);
  close(pipes[0]);
  close(pipes[1]);
}

}  // namespace
}  // namespace guest
