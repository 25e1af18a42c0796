// fcntl(2) record locks, open file description locks, flock(2).
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

struct flock Range(short type, off_t start, off_t length) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

int Lock(int fd, int command, short type, off_t start, off_t length) {
  struct flock lock = Range(type, start, length);
  return fcntl(fd, command, &lock);
}

class LockTest : public testing::Test {
 protected:
  LockTest() : fd_(open(file_.c_str(), O_CREAT | O_RDWR, 0644)) {}
  TempDir dir_;
  const std::string file_ = dir_ / "file";
  ScopedFd fd_;
};

TEST_F(LockTest, ProcessLocksExcludeOtherProcesses) {
  ASSERT_OK(Lock(fd_.get(), F_SETLK, F_WRLCK, 10, 10));
  ASSERT_OK(Lock(fd_.get(), F_SETLK, F_RDLCK, 12, 2));  // splits into three
  EXPECT_EQ(RunInChild([&] {
              EXPECT_ERRNO(EAGAIN, Lock(fd_.get(), F_SETLK, F_RDLCK, 10, 1));
              EXPECT_OK(Lock(fd_.get(), F_SETLK, F_RDLCK, 12, 2));
              EXPECT_ERRNO(EAGAIN, Lock(fd_.get(), F_SETLK, F_WRLCK, 12, 2));
              EXPECT_OK(Lock(fd_.get(), F_SETLK, F_WRLCK, 0, 10));
              struct flock query = Range(F_WRLCK, 0, 0);
              EXPECT_OK(fcntl(fd_.get(), F_GETLK, &query));
              EXPECT_EQ(query.l_type, F_WRLCK);
              EXPECT_EQ(query.l_start, 10);
              EXPECT_EQ(query.l_len, 2);
              EXPECT_EQ(query.l_pid, getppid());
              return 0;
            }),
            0);
  struct flock query = Range(F_WRLCK, 0, 0);
  EXPECT_OK(fcntl(fd_.get(), F_GETLK, &query));
  EXPECT_EQ(query.l_type, F_UNLCK);
}

TEST_F(LockTest, ClosingAnyDescriptorDropsProcessLocks) {
  ASSERT_OK(Lock(fd_.get(), F_SETLK, F_WRLCK, 0, 0));
  close(open(file_.c_str(), O_RDONLY));
  EXPECT_EQ(RunInChild([&] { return Lock(fd_.get(), F_SETLK, F_WRLCK, 0, 0) == 0 ? 0 : 1; }), 0);
}

TEST_F(LockTest, DescriptionLocksExcludeOtherDescriptions) {
  ScopedFd other(open(file_.c_str(), O_RDWR));
  ASSERT_OK(Lock(fd_.get(), F_OFD_SETLK, F_WRLCK, 0, 10));
  EXPECT_ERRNO(EAGAIN, Lock(other.get(), F_OFD_SETLK, F_RDLCK, 5, 1));
  EXPECT_ERRNO(EAGAIN, Lock(fd_.get(), F_SETLK, F_RDLCK, 5, 1));
  struct flock query = Range(F_WRLCK, 0, 0);
  EXPECT_OK(fcntl(other.get(), F_OFD_GETLK, &query));
  EXPECT_EQ(query.l_pid, -1);
  query.l_pid = 1;
  EXPECT_ERRNO(EINVAL, fcntl(other.get(), F_OFD_SETLK, &query));
  fd_.reset();
  EXPECT_OK(Lock(other.get(), F_OFD_SETLK, F_WRLCK, 0, 10));
}

TEST_F(LockTest, Errors) {
  ScopedFd read_only(open(file_.c_str(), O_RDONLY));
  EXPECT_ERRNO(EBADF, Lock(read_only.get(), F_SETLK, F_WRLCK, 0, 0));
  EXPECT_ERRNO(EINVAL, Lock(fd_.get(), F_SETLK, 77, 0, 0));
  EXPECT_ERRNO(EINVAL, Lock(fd_.get(), F_SETLK, F_RDLCK, -5, 1));
  EXPECT_ERRNO(EINVAL, Lock(fd_.get(), F_SETLK, F_RDLCK, 2, -5));
  EXPECT_ERRNO(EFAULT, fcntl(fd_.get(), F_SETLK, BadPointer()));
  EXPECT_ERRNO(EBADF, Lock(-1, F_SETLK, F_RDLCK, 0, 0));
}

TEST_F(LockTest, AWaitingLockIsGrantedOrInterrupted) {
  int ready[2], go[2];
  ASSERT_OK(pipe(ready));
  ASSERT_OK(pipe(go));
  const pid_t waiter = getpid();
  const pid_t holder = fork();
  if (holder == 0) {
    char byte;
    Lock(fd_.get(), F_SETLK, F_WRLCK, 0, 0);
    if (write(ready[1], "x", 1) != 1 || read(go[0], &byte, 1) != 1) _exit(1);
    AwaitSleepIn(waiter, SYS_fcntl);
    _exit(0);  // the exit releases
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  {
    Interrupter interrupter;
    EXPECT_ERRNO(EINTR, Lock(fd_.get(), F_SETLKW, F_WRLCK, 0, 0));
  }
  ASSERT_EQ(write(go[1], "x", 1), 1);
  EXPECT_OK(Lock(fd_.get(), F_SETLKW, F_WRLCK, 0, 0));
  int status;
  EXPECT_EQ(waitpid(holder, &status, 0), holder);
  EXPECT_EQ(status, 0);
  close(go[0]);
  close(go[1]);
  close(ready[0]);
  close(ready[1]);
}

TEST_F(LockTest, ACycleOfWaitsIsRefused) {
  int ready[2];
  ASSERT_OK(pipe(ready));
  ASSERT_OK(Lock(fd_.get(), F_SETLK, F_WRLCK, 0, 1));
  const pid_t other = fork();
  if (other == 0) {
    Lock(fd_.get(), F_SETLK, F_WRLCK, 1, 1);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    _exit(Lock(fd_.get(), F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : 2);  // waits for the parent
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  AwaitSleepIn(other, SYS_fcntl);
  EXPECT_ERRNO(EDEADLK, Lock(fd_.get(), F_SETLKW, F_WRLCK, 1, 1));
  ASSERT_OK(Lock(fd_.get(), F_SETLK, F_UNLCK, 0, 0));
  int status;
  waitpid(other, &status, 0);
  EXPECT_EQ(status, 0);
  close(ready[0]);
  close(ready[1]);
}

TEST_F(LockTest, FlockIsPerDescription) {
  ScopedFd other(open(file_.c_str(), O_RDONLY));
  ASSERT_OK(flock(fd_.get(), LOCK_EX));
  EXPECT_ERRNO(EWOULDBLOCK, flock(other.get(), LOCK_SH | LOCK_NB));
  ScopedFd twin(dup(fd_.get()));
  EXPECT_OK(flock(twin.get(), LOCK_SH | LOCK_NB));  // converts
  EXPECT_OK(flock(other.get(), LOCK_SH | LOCK_NB));
  EXPECT_ERRNO(EWOULDBLOCK, flock(fd_.get(), LOCK_EX | LOCK_NB));
  EXPECT_OK(flock(other.get(), LOCK_UN));
  EXPECT_ERRNO(EINVAL, flock(fd_.get(), 77));
  EXPECT_ERRNO(EBADF, flock(-1, LOCK_SH));
  // Record locks do not see it.
  EXPECT_OK(Lock(fd_.get(), F_SETLK, F_WRLCK, 0, 0));
}

TEST_F(LockTest, FlockWaits) {
  ScopedFd other(open(file_.c_str(), O_RDONLY));
  ASSERT_OK(flock(fd_.get(), LOCK_EX));
  {
    Interrupter interrupter;
    EXPECT_ERRNO(EINTR, flock(other.get(), LOCK_EX));
  }
  WhenAsleepIn release(SYS_flock, [&] { flock(fd_.get(), LOCK_UN); });
  EXPECT_OK(flock(other.get(), LOCK_EX));
}

}  // namespace
}  // namespace guest
