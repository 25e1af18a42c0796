// fcntl(2): F_SETOWN, F_SETSIG, O_ASYNC, F_SETLEASE, F_NOTIFY.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace {

// Blocks `signo` and takes it with sigtimedwait.
class SignalQueue {
 public:
  explicit SignalQueue(int signo) {
    sigemptyset(&set_);
    sigaddset(&set_, signo);
    sigprocmask(SIG_BLOCK, &set_, &old_);
  }
  ~SignalQueue() {
    siginfo_t info;
    while (Take(&info)) {
    }
    sigprocmask(SIG_SETMASK, &old_, nullptr);
  }
  bool Take(siginfo_t* info) {
    const timespec none{0, 0};
    return sigtimedwait(&set_, info, &none) > 0;
  }
  bool Wait(siginfo_t* info) {
    const timespec limit{10, 0};
    return sigtimedwait(&set_, info, &limit) > 0;
  }

 private:
  sigset_t set_, old_;
};

TEST(AsyncTest, PipeSendsTheChosenSignal) {
  int fds[2];
  ASSERT_OK(pipe(fds));
  SignalQueue queue(SIGRTMIN + 3);
  ASSERT_OK(fcntl(fds[0], F_SETOWN, getpid()));
  EXPECT_EQ(fcntl(fds[0], F_GETOWN), getpid());
  ASSERT_OK(fcntl(fds[0], F_SETSIG, SIGRTMIN + 3));
  EXPECT_EQ(fcntl(fds[0], F_GETSIG), SIGRTMIN + 3);
  siginfo_t info{};
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  EXPECT_FALSE(queue.Take(&info));  // not asked for yet
  ASSERT_OK(fcntl(fds[0], F_SETFL, O_ASYNC));
  EXPECT_NE(fcntl(fds[0], F_GETFL) & O_ASYNC, 0);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  ASSERT_TRUE(queue.Take(&info));  // it is there when write returns
  EXPECT_EQ(info.si_code, POLL_IN);
  EXPECT_EQ(info.si_fd, fds[0]);
  EXPECT_EQ(info.si_band, POLLIN | POLLRDNORM);
  ASSERT_OK(fcntl(fds[0], F_SETFL, 0));
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  EXPECT_FALSE(queue.Take(&info));
  close(fds[0]);
  close(fds[1]);
}

TEST(AsyncTest, SocketSendsSigio) {
  int fds[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
  SignalQueue queue(SIGIO);
  int on = 1;
  ASSERT_OK(ioctl(fds[0], FIOASYNC, &on));
  int owner = getpid();
  ASSERT_OK(ioctl(fds[0], FIOSETOWN, &owner));
  owner = 0;
  ASSERT_OK(ioctl(fds[0], SIOCGPGRP, &owner));
  EXPECT_EQ(owner, getpid());
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  siginfo_t info{};
  EXPECT_TRUE(queue.Take(&info));
  close(fds[0]);
  close(fds[1]);
}

TEST(AsyncTest, OwnerErrorsAndGroups) {
  int fds[2];
  ASSERT_OK(pipe(fds));
  EXPECT_ERRNO(ESRCH, fcntl(fds[0], F_SETOWN, 0x3ffffff));
  EXPECT_ERRNO(ESRCH, fcntl(fds[0], F_SETOWN, -0x3ffffff));
  EXPECT_ERRNO(EINVAL, fcntl(fds[0], F_SETSIG, 65));
  ASSERT_OK(fcntl(fds[0], F_SETOWN, -getpgrp()));
  EXPECT_EQ(fcntl(fds[0], F_GETOWN), -getpgrp());
  f_owner_ex owner{};
  ASSERT_OK(fcntl(fds[0], F_GETOWN_EX, &owner));
  EXPECT_EQ(owner.type, F_OWNER_PGRP);
  EXPECT_EQ(owner.pid, getpgrp());
  owner = {F_OWNER_TID, getpid()};
  ASSERT_OK(fcntl(fds[0], F_SETOWN_EX, &owner));
  owner = {};
  ASSERT_OK(fcntl(fds[0], F_GETOWN_EX, &owner));
  EXPECT_EQ(owner.type, F_OWNER_TID);
  owner.type = static_cast<__pid_type>(7);
  EXPECT_ERRNO(EINVAL, fcntl(fds[0], F_SETOWN_EX, &owner));
  EXPECT_ERRNO(EFAULT, fcntl(fds[0], F_SETOWN_EX, guest::BadPointer()));
  ASSERT_OK(fcntl(fds[0], F_SETOWN, 0));
  EXPECT_EQ(fcntl(fds[0], F_GETOWN), 0);
  close(fds[0]);
  close(fds[1]);
}

class LeaseTest : public testing::Test {
 protected:
  void SetUp() override { guest::WriteFileText(path_, "text"); }
  guest::TempDir dir_;
  const std::string path_ = dir_ / "f";
};

TEST_F(LeaseTest, TakesAndGives) {
  const guest::ScopedFd fd(open(path_.c_str(), O_RDONLY));
  EXPECT_EQ(fcntl(fd.get(), F_GETLEASE), F_UNLCK);
  EXPECT_ERRNO(EAGAIN, fcntl(fd.get(), F_SETLEASE, F_UNLCK));
  ASSERT_OK(fcntl(fd.get(), F_SETLEASE, F_RDLCK));
  EXPECT_EQ(fcntl(fd.get(), F_GETLEASE), F_RDLCK);
  ASSERT_OK(fcntl(fd.get(), F_SETLEASE, F_WRLCK));
  EXPECT_EQ(fcntl(fd.get(), F_GETLEASE), F_WRLCK);
  EXPECT_ERRNO(EINVAL, fcntl(fd.get(), F_SETLEASE, 77));
  ASSERT_OK(fcntl(fd.get(), F_SETLEASE, F_UNLCK));
  EXPECT_EQ(fcntl(fd.get(), F_GETLEASE), F_UNLCK);
}

TEST_F(LeaseTest, ConflictsWithOtherOpens) {
  const guest::ScopedFd writer(open(path_.c_str(), O_RDWR));
  EXPECT_ERRNO(EAGAIN, fcntl(writer.get(), F_SETLEASE, F_RDLCK));
  const guest::ScopedFd reader(open(path_.c_str(), O_RDONLY));
  EXPECT_ERRNO(EAGAIN, fcntl(reader.get(), F_SETLEASE, F_RDLCK));
  EXPECT_ERRNO(EAGAIN, fcntl(reader.get(), F_SETLEASE, F_WRLCK));
  const guest::ScopedFd directory(open(dir_.path().c_str(), O_RDONLY));
  EXPECT_ERRNO(EINVAL, fcntl(directory.get(), F_SETLEASE, F_RDLCK));
}

TEST_F(LeaseTest, OpenBreaksIt) {
  const guest::ScopedFd fd(open(path_.c_str(), O_RDONLY));
  SignalQueue queue(SIGRTMIN + 4);
  ASSERT_OK(fcntl(fd.get(), F_SETSIG, SIGRTMIN + 4));
  ASSERT_OK(fcntl(fd.get(), F_SETLEASE, F_RDLCK));
  // Readers do not disturb a read lease, a writer does.
  const guest::ScopedFd reader(open(path_.c_str(), O_RDONLY | O_NONBLOCK));
  EXPECT_GE(reader.get(), 0);
  EXPECT_ERRNO(EWOULDBLOCK, open(path_.c_str(), O_WRONLY | O_NONBLOCK));
  siginfo_t info{};
  ASSERT_TRUE(queue.Wait(&info));
  EXPECT_EQ(info.si_fd, fd.get());
  EXPECT_EQ(fcntl(fd.get(), F_GETLEASE), F_UNLCK);  // what it is being broken to
  const pid_t child = fork();
  if (child == 0) _exit(open(path_.c_str(), O_WRONLY) >= 0 ? 0 : 1);
  ASSERT_OK(fcntl(fd.get(), F_SETLEASE, F_UNLCK));
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(LeaseTest, TruncateBreaksAndCloseReleases) {
  int fd = open(path_.c_str(), O_RDONLY);
  SignalQueue queue(SIGIO);
  ASSERT_OK(fcntl(fd, F_SETLEASE, F_RDLCK));
  const pid_t child = fork();
  if (child == 0) {
    close(fd);
    _exit(truncate(path_.c_str(), 1) == 0 ? 0 : 1);
  }
  siginfo_t info{};
  EXPECT_TRUE(queue.Wait(&info));
  close(fd);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(DnotifyTest, SignalsOnceOrAgain) {
  const guest::TempDir dir;
  const guest::ScopedFd fd(open(dir.path().c_str(), O_RDONLY));
  SignalQueue queue(SIGRTMIN + 5);
  ASSERT_OK(fcntl(fd.get(), F_SETSIG, SIGRTMIN + 5));
  ASSERT_OK(fcntl(fd.get(), F_NOTIFY, DN_CREATE));
  guest::WriteFileText(dir / "a", "");
  siginfo_t info{};
  ASSERT_TRUE(queue.Take(&info));
  EXPECT_EQ(info.si_fd, fd.get());
  guest::WriteFileText(dir / "b", "");
  EXPECT_FALSE(queue.Take(&info));
  ASSERT_OK(fcntl(fd.get(), F_NOTIFY, DN_DELETE | DN_MULTISHOT));
  EXPECT_OK(unlink((dir / "a").c_str()));
  EXPECT_TRUE(queue.Take(&info));
  EXPECT_OK(unlink((dir / "b").c_str()));
  EXPECT_TRUE(queue.Take(&info));
  ASSERT_OK(fcntl(fd.get(), F_NOTIFY, 0));
  guest::WriteFileText(dir / "c", "");
  EXPECT_OK(unlink((dir / "c").c_str()));
  EXPECT_FALSE(queue.Take(&info));
  const guest::ScopedFd file(open((dir / "d").c_str(), O_CREAT | O_RDWR, 0600));
  EXPECT_ERRNO(ENOTDIR, fcntl(file.get(), F_NOTIFY, DN_CREATE));
}

TEST(FcntlLockTest, PipesCanBeLocked) {
  int fds[2];
  ASSERT_OK(pipe(fds));
  struct flock lock {};
  lock.l_type = F_RDLCK;
  EXPECT_OK(fcntl(fds[0], F_SETLK, &lock));
  EXPECT_ERRNO(EFAULT, fcntl(fds[0], F_SETLK, guest::BadPointer()));
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
