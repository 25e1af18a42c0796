// pidfd_open(2) with PIDFD_THREAD, pidfd_send_signal(2) with flags, ioctl_pidfd(2).
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

#ifndef __NR_pidfd_send_signal
#define __NR_pidfd_send_signal 424
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open 434
#endif

namespace guest {
namespace {

constexpr unsigned kThread = O_EXCL, kSignalThread = 1, kSignalProcess = 2, kSignalProcessGroup = 4;

int Open(pid_t pid, unsigned flags = 0) { return static_cast<int>(syscall(__NR_pidfd_open, pid, flags)); }
long Send(int fd, int signo, siginfo_t* info = nullptr, unsigned flags = 0) {
  return syscall(__NR_pidfd_send_signal, fd, signo, info, flags);
}
short Ready(int fd, int timeout = 0) {
  pollfd wanted = {fd, POLLIN, 0};
  return poll(&wanted, 1, timeout) < 0 ? short{-1} : wanted.revents;
}

struct Info {
  uint64_t mask, cgroup;
  uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exit_code;
};
struct FirstInfo {
  uint64_t words[8];
};
const unsigned long kGetInfo = _IOWR(0xff, 11, FirstInfo);
const unsigned long kGetUts = _IO(0xff, 10);

class Sleeper {
 public:
  Sleeper() {
    if (pipe(pipe_) != 0) abort();
    std::atomic<pid_t> tid{0};
    helper_ = std::make_unique<Helper>([&] {
      tid = static_cast<pid_t>(syscall(SYS_gettid));
      char byte;
      (void)!read(pipe_[0], &byte, 1);
    });
    helper_->AwaitSleepIn(SYS_read);
    tid_ = tid;
  }
  ~Sleeper() {
    End();
    close(pipe_[0]);
    close(pipe_[1]);
  }
  void End() {
    if (helper_ == nullptr) return;
    (void)!write(pipe_[1], "x", 1);
    helper_.reset();
  }
  pid_t tid() const { return tid_; }

 private:
  int pipe_[2];
  pid_t tid_ = 0;
  std::unique_ptr<Helper> helper_;
};

TEST(PidfdTest, OfAThread) {
  Sleeper sleeper;
  EXPECT_EQ(Open(sleeper.tid()), -1) << "no process has this number";
  EXPECT_TRUE(errno == ENOENT || errno == EINVAL) << errno;
  const ScopedFd fd(Open(sleeper.tid(), kThread));
  ASSERT_GE(fd.get(), 0) << strerror(errno);
  EXPECT_EQ(fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(Ready(fd.get()), 0);
  EXPECT_OK(Send(fd.get(), 0));
  sleeper.End();
  EXPECT_TRUE(Ready(fd.get(), 10000) & POLLIN) << "it ended, though the process did not";
  EXPECT_ERRNO(ESRCH, Send(fd.get(), 0));
  const ScopedFd self(Open(getpid()));
  EXPECT_EQ(Ready(self.get()), 0);
  EXPECT_ERRNO(EINVAL, Open(getpid(), 1));
}

TEST(PidfdTest, ClonedThread) {
  alignas(16) static char stack[65536];
  static std::atomic<bool> go;
  go = false;
  int fd = -1;
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PIDFD;
  const int tid = clone(
      [](void*) {
        while (!go.load()) sched_yield();
        syscall(SYS_exit, 0);
        return 0;
      },
      stack + sizeof(stack), flags, nullptr, &fd);
  ASSERT_GT(tid, 0) << strerror(errno);
  EXPECT_EQ(Ready(fd), 0);
  go = true;
  EXPECT_TRUE(Ready(fd, 10000) & POLLIN);
  close(fd);
}

std::atomic<pid_t> taker{0};
std::atomic<int> taken{0};

TEST(PidfdTest, SignalsByFlags) {
  struct sigaction action = {}, old;
  action.sa_handler = [](int) {
    taker = static_cast<pid_t>(syscall(SYS_gettid));
    ++taken;
  };
  ASSERT_OK(sigaction(SIGUSR1, &action, &old));
  const ScopedFd fd(Open(getpid()));
  taken = 0;
  EXPECT_OK(Send(fd.get(), SIGUSR1, nullptr, kSignalThread));
  EXPECT_EQ(taken.load(), 1);
  EXPECT_EQ(taker.load(), getpid()) << "the leader";
  EXPECT_OK(Send(fd.get(), SIGUSR1, nullptr, kSignalProcess));
  EXPECT_EQ(taken.load(), 2);
  EXPECT_ERRNO(EINVAL, Send(fd.get(), SIGUSR1, nullptr, kSignalThread | kSignalProcess));
  EXPECT_ERRNO(EINVAL, Send(fd.get(), SIGUSR1, nullptr, 8));
  sigaction(SIGUSR1, &old, nullptr);

  const pid_t pid = fork();
  if (pid == 0) {
    setpgid(0, 0);
    const pid_t second = fork();
    if (second == 0) {
      for (;;) pause();
    }
    const ScopedFd own(Open(getpid())), member(Open(second));
    signal(SIGTERM, SIG_IGN);
    if (Send(member.get(), SIGTERM, nullptr, kSignalProcessGroup) != -1 || errno != ESRCH) _exit(4);
    if (Send(own.get(), SIGTERM, nullptr, kSignalProcessGroup) != 0) _exit(1);
    int status;
    if (waitpid(second, &status, 0) != second) _exit(2);
    _exit(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM ? 7 : 3);
  }
  int status;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << std::hex << status;
}

TEST(PidfdTest, Information) {
  const pid_t pid = fork();
  if (pid == 0) _exit(5);
  const ScopedFd fd(Open(pid));
  ASSERT_TRUE(Ready(fd.get(), 10000) & POLLIN);
  Info info = {};
  if (ioctl(fd.get(), kGetInfo, &info) != 0 && errno == ENOTTY) GTEST_SKIP() << "older than Linux 6.13";
  EXPECT_EQ(info.mask & 3, 3u);
  EXPECT_EQ(info.pid, static_cast<uint32_t>(pid));
  EXPECT_EQ(info.tgid, static_cast<uint32_t>(pid));
  EXPECT_EQ(info.ppid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(info.ruid, getuid());
  EXPECT_EQ(info.fsgid, getegid());
  EXPECT_ERRNO(EINVAL, ioctl(fd.get(), kGetInfo, nullptr));
  EXPECT_ERRNO(EFAULT, ioctl(fd.get(), kGetInfo, BadPointer()));
  EXPECT_ERRNO(ENOTTY, ioctl(fd.get(), _IOWR(0xff, 11, int), &info)) << "too small";
  int status;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  info = {};
  EXPECT_ERRNO(ESRCH, ioctl(fd.get(), kGetInfo, &info));
  info.mask = 8;
  if (ioctl(fd.get(), kGetInfo, &info) == 0) {  // since Linux 6.15
    EXPECT_EQ(info.mask & 8, 8u);
    EXPECT_TRUE(WIFEXITED(info.exit_code) && WEXITSTATUS(info.exit_code) == 5) << info.exit_code;
  }
}

TEST(PidfdTest, Namespaces) {
  const ScopedFd fd(Open(getpid()));
  const ScopedFd uts(ioctl(fd.get(), kGetUts, 0));
  if (uts.get() < 0 && errno == ENOTTY) GTEST_SKIP() << "older than Linux 6.11";
  ASSERT_GE(uts.get(), 0) << strerror(errno);
  char own[64] = {}, got[64] = {};
  EXPECT_GT(readlink("/proc/self/ns/uts", own, sizeof(own) - 1), 0);
  EXPECT_GT(readlink(("/proc/self/fd/" + std::to_string(uts.get())).c_str(), got, sizeof(got) - 1), 0);
  EXPECT_STREQ(got, own);
  EXPECT_ERRNO(EINVAL, ioctl(fd.get(), kGetUts, 1));
  EXPECT_ERRNO(ENOTTY, ioctl(fd.get(), _IO(0xff, 99), 0));
}

}  // namespace
}  // namespace guest
