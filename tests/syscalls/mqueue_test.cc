// mq_open(3), mq_send(3), mq_receive(3), mq_notify(3), mq_getattr(3), the mqueue file system.
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace {

class MqueueTest : public testing::Test {
 protected:
  void SetUp() override {
    name_ = "/runsc-mq-" + std::to_string(getpid());
    attr_.mq_maxmsg = 3;
    attr_.mq_msgsize = 16;
    queue_ = mq_open(name_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &attr_);
    ASSERT_GE(queue_, 0) << std::strerror(errno);
  }
  void TearDown() override {
    (void)mq_close(queue_);
    (void)mq_unlink(name_.c_str());
  }
  std::string Receive(mqd_t queue, unsigned* priority = nullptr) {
    char text[16];
    const ssize_t size = mq_receive(queue, text, sizeof(text), priority);
    return size < 0 ? std::strerror(errno) : std::string(text, static_cast<size_t>(size));
  }
  mqd_t Blocking() { return mq_open(name_.c_str(), O_RDWR); }

  std::string name_;
  mq_attr attr_{};
  mqd_t queue_ = -1;
};

TEST_F(MqueueTest, OrdersByPriorityThenTime) {
  ASSERT_OK(mq_send(queue_, "low", 3, 1));
  ASSERT_OK(mq_send(queue_, "high", 4, 9));
  ASSERT_OK(mq_send(queue_, "late", 4, 9));
  EXPECT_ERRNO(EAGAIN, mq_send(queue_, "x", 1, 0));
  unsigned priority = 0;
  EXPECT_EQ(Receive(queue_, &priority), "high");
  EXPECT_EQ(priority, 9u);
  EXPECT_EQ(Receive(queue_), "late");
  EXPECT_EQ(Receive(queue_, &priority), "low");
  EXPECT_EQ(priority, 1u);
  EXPECT_EQ(Receive(queue_), std::strerror(EAGAIN));
}

TEST_F(MqueueTest, Attributes) {
  mq_attr now{};
  ASSERT_OK(mq_getattr(queue_, &now));
  EXPECT_EQ(now.mq_flags, O_NONBLOCK);
  EXPECT_EQ(now.mq_maxmsg, 3);
  EXPECT_EQ(now.mq_msgsize, 16);
  EXPECT_EQ(now.mq_curmsgs, 0);
  mq_attr change{};
  ASSERT_OK(mq_setattr(queue_, &change, &now));
  EXPECT_EQ(now.mq_flags, O_NONBLOCK);
  ASSERT_OK(mq_getattr(queue_, &now));
  EXPECT_EQ(now.mq_flags, 0);
  change.mq_flags = O_APPEND;
  EXPECT_ERRNO(EINVAL, syscall(SYS_mq_getsetattr, queue_, &change, nullptr));
  EXPECT_NE(fcntl(queue_, F_GETFD) & FD_CLOEXEC, 0);
  struct stat info {};
  ASSERT_OK(fstat(queue_, &info));
  EXPECT_EQ(info.st_mode, S_IFREG | 0600u);
  EXPECT_EQ(info.st_size, 80);
}

TEST_F(MqueueTest, OpenErrors) {
  EXPECT_ERRNO(EEXIST, mq_open(name_.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, nullptr));
  EXPECT_ERRNO(ENOENT, mq_open("/runsc-no-such-queue", O_RDWR));
  EXPECT_ERRNO(EACCES, syscall(SYS_mq_open, "a/b", O_CREAT | O_RDWR, 0600, nullptr));
  EXPECT_ERRNO(ENOENT, syscall(SYS_mq_open, "", O_CREAT | O_RDWR, 0600, nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_mq_open, guest::BadPointer(), O_RDWR, 0, nullptr));
  const std::string too_long(256, 'x');
  EXPECT_ERRNO(ENAMETOOLONG, syscall(SYS_mq_open, too_long.c_str(), O_CREAT | O_RDWR, 0600, nullptr));
  mq_attr bad{};
  bad.mq_maxmsg = 0;
  bad.mq_msgsize = 16;
  EXPECT_ERRNO(EINVAL, mq_open("/runsc-bad", O_CREAT | O_RDWR, 0600, &bad));
  bad.mq_maxmsg = 1;
  bad.mq_msgsize = -1;
  EXPECT_ERRNO(EINVAL, mq_open("/runsc-bad", O_CREAT | O_RDWR, 0600, &bad));
  EXPECT_ERRNO(ENOENT, mq_unlink("/runsc-bad"));
}

TEST_F(MqueueTest, TransferErrors) {
  char text[16];
  EXPECT_ERRNO(EMSGSIZE, mq_send(queue_, "12345678901234567", 17, 0));
  EXPECT_ERRNO(EINVAL, mq_send(queue_, "x", 1, 32768));
  EXPECT_ERRNO(EMSGSIZE, mq_receive(queue_, text, 15, nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_mq_timedsend, queue_, guest::BadPointer(), 1, 0, nullptr));
  EXPECT_ERRNO(EBADF, mq_send(STDIN_FILENO, "x", 1, 0));
  EXPECT_ERRNO(EBADF, mq_send(-1, "x", 1, 0));
  const mqd_t reader = mq_open(name_.c_str(), O_RDONLY);
  ASSERT_GE(reader, 0);
  EXPECT_ERRNO(EBADF, mq_send(reader, "x", 1, 0));
  EXPECT_OK(mq_close(reader));
  const mqd_t writer = mq_open(name_.c_str(), O_WRONLY);
  EXPECT_ERRNO(EBADF, mq_receive(writer, text, sizeof(text), nullptr));
  EXPECT_OK(mq_close(writer));
}

TEST_F(MqueueTest, TimeoutIsAbsoluteAndChecked) {
  const mqd_t queue = Blocking();
  ASSERT_GE(queue, 0);
  char text[16];
  timespec past{1, 0};
  EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, text, sizeof(text), nullptr, &past));
  timespec wrong{0, 1'000'000'000};
  EXPECT_ERRNO(EINVAL, syscall(SYS_mq_timedreceive, queue, text, sizeof(text), nullptr, &wrong));
  EXPECT_ERRNO(EFAULT, syscall(SYS_mq_timedreceive, queue, text, sizeof(text), nullptr, guest::BadPointer()));
  guest::Interrupter interrupter;
  EXPECT_ERRNO(EINTR, mq_receive(queue, text, sizeof(text), nullptr));
  EXPECT_OK(mq_close(queue));
}

TEST_F(MqueueTest, BlockingReceiverGetsTheMessage) {
  const mqd_t queue = Blocking();
  const pid_t child = fork();
  if (child == 0) _exit(Receive(queue) == "hello" ? 0 : 1);
  ASSERT_OK(mq_send(queue, "hello", 5, 0));
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_OK(mq_close(queue));
}

TEST_F(MqueueTest, Poll) {
  pollfd entry{queue_, POLLIN | POLLOUT, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 1);
  EXPECT_EQ(entry.revents, POLLOUT);
  for (int i = 0; i < 3; ++i) ASSERT_OK(mq_send(queue_, "x", 1, 0));
  EXPECT_EQ(poll(&entry, 1, 0), 1);
  EXPECT_EQ(entry.revents, POLLIN);
}

TEST_F(MqueueTest, NotifiesOnceWithASignal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  event.sigev_value.sival_int = 42;
  ASSERT_OK(mq_notify(queue_, &event));
  EXPECT_ERRNO(EBUSY, mq_notify(queue_, &event));
  char text[128];
  const ssize_t size = pread(queue_, text, sizeof(text), 0);
  EXPECT_EQ(std::string(text, size > 0 ? static_cast<size_t>(size) : 0).find("QSIZE:0          NOTIFY:0     SIGNO:10"),
            0u);
  ASSERT_OK(mq_send(queue_, "one", 3, 0));
  siginfo_t info{};
  EXPECT_EQ(sigwaitinfo(&set, &info), SIGUSR1);
  EXPECT_EQ(info.si_code, SI_MESGQ);
  EXPECT_EQ(info.si_value.sival_int, 42);
  EXPECT_EQ(info.si_pid, getpid());
  ASSERT_OK(mq_notify(queue_, &event));
  ASSERT_OK(mq_send(queue_, "two", 3, 0));  // not into an empty queue
  timespec none{0, 0};
  EXPECT_ERRNO(EAGAIN, sigtimedwait(&set, &info, &none));
  EXPECT_OK(mq_notify(queue_, nullptr));
  event.sigev_notify = 77;
  EXPECT_ERRNO(EINVAL, mq_notify(queue_, &event));
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

int thread_pipe[2];

TEST_F(MqueueTest, NotifiesWithAThread) {
  ASSERT_OK(pipe(thread_pipe));
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = [](sigval value) {
    const char byte = static_cast<char>(value.sival_int);
    (void)!write(thread_pipe[1], &byte, 1);
  };
  event.sigev_value.sival_int = 7;
  ASSERT_OK(mq_notify(queue_, &event));
  ASSERT_OK(mq_send(queue_, "one", 3, 0));
  char byte = 0;
  ASSERT_EQ(read(thread_pipe[0], &byte, 1), 1);
  EXPECT_EQ(byte, 7);
  close(thread_pipe[0]);
  close(thread_pipe[1]);
}

TEST_F(MqueueTest, UnlinkedQueueStaysUsable) {
  ASSERT_OK(mq_unlink(name_.c_str()));
  EXPECT_ERRNO(ENOENT, mq_open(name_.c_str(), O_RDWR));
  ASSERT_OK(mq_send(queue_, "still", 5, 0));
  EXPECT_EQ(Receive(queue_), "still");
}

TEST_F(MqueueTest, PermissionsOfOthers) {
  EXPECT_EQ(guest::RunAsNobody([&] {
              if (mq_open(name_.c_str(), O_RDONLY) != -1 || errno != EACCES) return 1;
              if (mq_unlink(name_.c_str()) != -1 || (errno != EACCES && errno != EPERM)) return 2;
              mq_attr big{};
              big.mq_maxmsg = 11;  // above msg_max
              big.mq_msgsize = 16;
              if (mq_open("/runsc-mq-nobody", O_CREAT | O_RDWR, 0600, &big) != -1 || errno != EINVAL) return 3;
              return 0;
            }),
            0);
}

TEST_F(MqueueTest, MountedFileSystem) {
  const guest::TempDir dir;
  if (mount("none", dir.path().c_str(), "mqueue", 0, nullptr) != 0) GTEST_SKIP() << "mounting needs CAP_SYS_ADMIN";
  struct stat info {};
  EXPECT_OK(stat((dir.path() + name_).c_str(), &info));
  ASSERT_OK(mq_send(queue_, "12345", 5, 0));
  EXPECT_EQ(guest::ReadFileText(dir.path() + name_).find("QSIZE:5 "), 0u);
  EXPECT_OK(unlink((dir.path() + name_).c_str()));
  EXPECT_ERRNO(ENOENT, mq_unlink(name_.c_str()));
  EXPECT_OK(umount(dir.path().c_str()));
}

}  // namespace
