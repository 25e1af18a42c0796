// What calls on files say of kinds of files they are not made for, in which order they look, and flags that change
// little.
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/random.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

class FileErrorsTest : public testing::Test {
 protected:
  FileErrorsTest() {
    WriteFileText(path_, "hello world");
    EXPECT_EQ(pipe(pipe_), 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair_), 0);
  }
  ~FileErrorsTest() override {
    for (const int fd : {pipe_[0], pipe_[1], pair_[0], pair_[1]}) close(fd);
  }
  TempDir dir_;
  const std::string path_ = dir_ / "file";
  const ScopedFd file_{open(path_.c_str(), O_RDWR | O_CREAT, 0644)};
  const ScopedFd place_{open(path_.c_str(), O_PATH)};
  int pipe_[2], pair_[2];
};

TEST_F(FileErrorsTest, DevicesDoNotSeek) {
  for (const char* name : {"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"}) {
    const ScopedFd fd(open(name, O_RDWR));
    EXPECT_EQ(lseek(fd.get(), 3, SEEK_SET), 0) << name;
    EXPECT_EQ(lseek(fd.get(), -1, SEEK_SET), 0) << name;
    EXPECT_EQ(lseek(fd.get(), 3, SEEK_CUR), 0) << name;
    EXPECT_ERRNO(EINVAL, lseek(fd.get(), 0, 5)) << name;
  }
  const ScopedFd random(open("/dev/urandom", O_RDONLY));
  EXPECT_ERRNO(EINVAL, ioctl(random.get(), 0x12345678));
}

TEST_F(FileErrorsTest, FlagsOfTransfers) {
  constexpr int kNoAppend = 0x20;  // RWF_NOAPPEND
  char byte = 'x';
  const iovec iov{&byte, 1};
  for (const int flags : {RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_APPEND, kNoAppend}) {
    EXPECT_EQ(preadv2(file_.get(), &iov, 1, 0, flags), 1) << flags;
  }
  EXPECT_ERRNO(EOPNOTSUPP, preadv2(file_.get(), &iov, 1, 0, 0x1000));
  EXPECT_ERRNO(EINVAL, pwritev2(file_.get(), &iov, 1, 0, RWF_APPEND | kNoAppend));
  EXPECT_EQ(preadv2(file_.get(), &iov, 0, 0, 0x1000), 0);  // nothing is looked at for nothing
  const ScopedFd null(open("/dev/null", O_RDWR));
  EXPECT_EQ(pwritev2(null.get(), &iov, 1, 0, RWF_SYNC), 1);
  const ScopedFd append(open(path_.c_str(), O_RDWR | O_APPEND));
  byte = 'J';
  EXPECT_EQ(pwritev2(append.get(), &iov, 1, 0, kNoAppend), 1);
  EXPECT_EQ(ReadFileText(path_), "Jello world");
  EXPECT_EQ(pwritev2(append.get(), &iov, 1, 0, 0), 1);
  EXPECT_EQ(ReadFileText(path_), "Jello worldJ");
}

TEST_F(FileErrorsTest, EmptyTransfers) {
  EXPECT_EQ(vmsplice(file_.get(), nullptr, 0, 0), 0);
  EXPECT_ERRNO(EBADF, vmsplice(place_.get(), nullptr, 0, 0));
  EXPECT_EQ(read(pair_[0], nullptr, 0), 0);
  const ScopedFd datagrams(socket(AF_INET, SOCK_DGRAM, 0)), stream(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_EQ(read(datagrams.get(), nullptr, 0), 0);
  EXPECT_EQ(read(stream.get(), nullptr, 0), 0);
}

TEST_F(FileErrorsTest, OrderOfChecks) {
  EXPECT_ERRNO(EINVAL, flock(-1, 77));
  EXPECT_ERRNO(EBADF, flock(place_.get(), LOCK_EX));
  const ScopedFd read_only(open(path_.c_str(), O_RDONLY));
  EXPECT_ERRNO(EPERM, fcntl(read_only.get(), F_ADD_SEALS, 0));
  EXPECT_ERRNO(EINVAL, fcntl(read_only.get(), F_GET_SEALS));
  EXPECT_ERRNO(EBADF, futimens(place_.get(), nullptr));
  EXPECT_ERRNO(EFAULT, fcntl(pipe_[0], F_GET_RW_HINT, nullptr));
}

TEST_F(FileErrorsTest, Advice) {
  EXPECT_EQ(posix_fadvise(pair_[0], 0, 10, POSIX_FADV_WILLNEED), 0);
  EXPECT_EQ(posix_fadvise(pair_[0], 0, 10, 77), EINVAL);
  EXPECT_EQ(posix_fadvise(pipe_[0], 0, 10, POSIX_FADV_WILLNEED), ESPIPE);
  const ScopedFd event(eventfd(0, 0)), text(open("/proc/self/status", O_RDONLY));
  EXPECT_ERRNO(ESPIPE, sync_file_range(event.get(), 0, 10, SYNC_FILE_RANGE_WRITE));
  EXPECT_OK(sync_file_range(text.get(), 0, 10, SYNC_FILE_RANGE_WRITE));
}

TEST_F(FileErrorsTest, NoShortWayBetweenFileSystems) {
  const ScopedFd memory(memfd_create("m", 0)), text(open("/proc/self/status", O_RDONLY));
  EXPECT_ERRNO(EXDEV, copy_file_range(memory.get(), nullptr, file_.get(), nullptr, 1, 0));
  EXPECT_ERRNO(EXDEV, copy_file_range(text.get(), nullptr, file_.get(), nullptr, 1, 0));
}

TEST_F(FileErrorsTest, AttributesOfWhatHasNone) {
  char list[64];
  EXPECT_GE(flistxattr(pipe_[0], list, sizeof(list)), 0);
  EXPECT_GE(flistxattr(pair_[0], list, sizeof(list)), 0);
  EXPECT_ERRNO(ENODATA, fgetxattr(pipe_[0], "user.x", list, sizeof(list)));
}

TEST_F(FileErrorsTest, FlagsOfNames) {
  struct stat st;
  EXPECT_OK(syscall(SYS_newfstatat, AT_FDCWD, path_.c_str(), &st, AT_STATX_FORCE_SYNC));
  EXPECT_ERRNO(EINVAL, syscall(SYS_newfstatat, AT_FDCWD, path_.c_str(), &st, 0x8));
  struct {
    unsigned bytes = 128;
    int type = 0;
    char data[128];
  } handle;
  uint64_t mount = 0;
  struct statx stx;
  if (syscall(SYS_name_to_handle_at, AT_FDCWD, path_.c_str(), &handle, &mount, 0x1) != 0) GTEST_SKIP() << "no handles";
  EXPECT_OK(statx(AT_FDCWD, path_.c_str(), 0, 0x4000, &stx));
  EXPECT_EQ(mount, stx.stx_mnt_id);
}

TEST_F(FileErrorsTest, OpeningDirectoriesAndDevices) {
  const std::string dir = dir_.path();
  EXPECT_ERRNO(EEXIST, open((dir + "/.").c_str(), O_CREAT | O_EXCL | O_RDWR, 0600));
  EXPECT_ERRNO(EISDIR, open((dir + "/.").c_str(), O_CREAT | O_RDWR, 0600));
  EXPECT_ERRNO(EEXIST, open("/", O_CREAT | O_EXCL | O_RDWR, 0600));
  EXPECT_ERRNO(EISDIR, open(dir.c_str(), O_RDONLY | O_TRUNC));
  EXPECT_ERRNO(EINVAL, open(dir.c_str(), O_RDONLY | O_DIRECT));
  EXPECT_ERRNO(EINVAL, open("/dev/null", O_RDONLY | O_DIRECT));
}

TEST_F(FileErrorsTest, AbsoluteNamesMayStartAnywhere) {
  ASSERT_OK(chdir("/proc"));  // another mount than the root
  open_how how = {};
  how.resolve = RESOLVE_NO_XDEV;
  const ScopedFd root(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how))));
  EXPECT_GE(root.get(), 0) << strerror(errno);
  EXPECT_ERRNO(EXDEV, syscall(SYS_openat2, AT_FDCWD, "/proc", &how, sizeof(how)));
  ASSERT_OK(chdir("/"));
}

TEST_F(FileErrorsTest, EventsAreNoBand) {
  const ScopedFd event(eventfd(1, 0));
  pollfd poll_fd{event.get(), 0x7fff, 0};
  EXPECT_EQ(poll(&poll_fd, 1, 0), 1);
  EXPECT_EQ(poll_fd.revents, POLLIN | POLLOUT);
}

TEST_F(FileErrorsTest, ShutdownBeforeAConnection) {
  const ScopedFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_OK(shutdown(fd.get(), SHUT_WR));
}

TEST_F(FileErrorsTest, SizesByIoctl) {
  int64_t size = -1;
  EXPECT_OK(ioctl(file_.get(), FIOQSIZE, &size));
  EXPECT_EQ(size % 512, 0);
  EXPECT_ERRNO(ENOTTY, ioctl(pipe_[0], FIOQSIZE, &size));
  int block = 0;
  EXPECT_OK(ioctl(pipe_[0], FIGETBSZ, &block));
  EXPECT_GT(block, 0);
}

}  // namespace
}  // namespace guest
