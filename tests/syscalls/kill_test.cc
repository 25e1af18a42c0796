// kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2), rt_tgsigqueueinfo(2), pidfd_send_signal(2): who may send what to
// whom, and what arrives.
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

constexpr pid_t kNobodyHere = 0x3fffffff;

struct Ids {
  uid_t real, effective, saved;
};

// A child that waits for signals, with these ids, killed at the end.
class Target {
 public:
  explicit Target(Ids ids = {0, 0, 0}, bool own_session = false, pid_t group = -1) {
    pid_ = fork();
    if (pid_ == 0) {
      if (own_session) setsid();
      if (group >= 0) setpgid(0, group);
      if (setresuid(ids.real, ids.effective, ids.saved) != 0) _exit(1);
      for (;;) pause();
    }
    AwaitSleepIn(pid_, SYS_pause);
  }
  ~Target() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

int RunAs(Ids ids, const std::function<int()>& body) {
  return RunInChild([&] { return setresuid(ids.real, ids.effective, ids.saved) == 0 ? body() : 97; });
}

TEST(KillTest, TheSendersRealOrEffectiveIdIsTheTargetsRealOrSavedOne) {
  const struct {
    Ids sender, target;
    int error;
  } cases[] = {
      {{1000, 1000, 1000}, {1000, 1000, 1000}, 0},
      {{1000, 1000, 1000}, {1001, 1001, 1001}, EPERM},
      {{1000, 1001, 1001}, {1000, 1000, 1000}, 0},
      {{1001, 1000, 1001}, {1000, 1000, 1000}, 0},
      {{1001, 1001, 1000}, {1000, 1000, 1000}, EPERM},
      {{1000, 1000, 1000}, {1001, 1000, 1001}, EPERM},
      {{1000, 1000, 1000}, {1001, 1001, 1000}, 0},
      {{1000, 1000, 1000}, {0, 0, 0}, EPERM},
      {{0, 0, 0}, {1000, 1001, 1002}, 0},
      {{0, 1000, 0}, {0, 0, 0}, 0},
      {{0, 1000, 0}, {1001, 1001, 1001}, EPERM},
  };
  for (const auto& c : cases) {
    Target target(c.target);
    EXPECT_EQ(RunAs(c.sender, [&] { return kill(target.pid(), 0) == 0 ? 0 : errno; }), c.error) << &c - cases;
    EXPECT_EQ(RunAs(c.sender, [&] { return syscall(SYS_tgkill, target.pid(), target.pid(), 0) == 0 ? 0 : errno; }),
              c.error)
        << &c - cases;
  }
}

TEST(KillTest, ContinueCrossesUsersWithinASession) {
  Target here({0, 0, 0}), elsewhere({0, 0, 0}, /*own_session=*/true);
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_OK(kill(here.pid(), SIGCONT));
              EXPECT_ERRNO(EPERM, kill(here.pid(), SIGTERM));
              EXPECT_ERRNO(EPERM, kill(elsewhere.pid(), SIGCONT));
              return 0;
            }),
            0);
}

TEST(KillTest, EverybodyIsReachedWithoutAnErrorForTheOthers) {
  Target other;
  // Linux reports what the last one said, but leaves EPERM out.
  EXPECT_EQ(RunAsNobody([] {
              EXPECT_OK(kill(-1, 0));
              return 0;
            }),
            0);
}

TEST(KillTest, AGroupTakesItWhenAnyMemberDoes) {
  Target leader({1000, 1000, 1000}, false, 0), member({0, 0, 0}, false, leader.pid());
  Target foreign({0, 0, 0}, false, 0);
  EXPECT_EQ(RunAs({1000, 1000, 1000},
                  [&] {
                    EXPECT_OK(kill(-leader.pid(), 0));
                    EXPECT_ERRNO(EPERM, kill(-foreign.pid(), 0));
                    return 0;
                  }),
            0);
}

TEST(KillTest, Errors) {
  Target other;
  const pid_t self = getpid(), tid = gettid();
  EXPECT_ERRNO(EINVAL, kill(self, 65));
  EXPECT_ERRNO(EINVAL, kill(self, -1));
  EXPECT_ERRNO(ESRCH, kill(kNobodyHere, 0));
  EXPECT_ERRNO(ESRCH, kill(-kNobodyHere, 0));
  EXPECT_ERRNO(ESRCH, kill(INT_MIN, 0));
  EXPECT_OK(kill(self, 0));
  EXPECT_OK(kill(0, 0));
  for (const auto call :
       {+[](pid_t group, pid_t thread, int signo) { return syscall(SYS_tgkill, group, thread, signo); },
        +[](pid_t group, pid_t thread, int signo) {
          siginfo_t info = {};
          info.si_code = SI_QUEUE;
          return syscall(SYS_rt_tgsigqueueinfo, group, thread, signo, &info);
        }}) {
    EXPECT_ERRNO(EINVAL, call(0, tid, 0));
    EXPECT_ERRNO(EINVAL, call(self, 0, 0));
    EXPECT_ERRNO(EINVAL, call(-1, tid, 0));
    EXPECT_ERRNO(EINVAL, call(self, tid, 65));
    EXPECT_ERRNO(ESRCH, call(self, kNobodyHere, 0));
    EXPECT_ERRNO(ESRCH, call(other.pid(), tid, 0)) << "not a thread of that process";
    EXPECT_OK(call(self, tid, 0));
  }
  EXPECT_ERRNO(EINVAL, syscall(SYS_tkill, 0, 0));
  EXPECT_ERRNO(EINVAL, syscall(SYS_tkill, -1, 0));
  EXPECT_ERRNO(ESRCH, syscall(SYS_tkill, kNobodyHere, 0));
}

TEST(KillTest, AZombieTakesSignals) {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  AwaitState(pid, "Z");
  EXPECT_OK(kill(pid, 0));
  EXPECT_OK(kill(pid, SIGKILL));
  EXPECT_OK(syscall(SYS_tkill, pid, SIGTERM));
  waitpid(pid, nullptr, 0);
  EXPECT_ERRNO(ESRCH, kill(pid, 0));
}

TEST(KillTest, AThreadsNumberNamesItsProcess) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  pid_t tid = 0;
  Helper thread([&] {
    char byte;
    tid = gettid();
    (void)!read(pipes[0], &byte, 1);
  });
  thread.AwaitSleepIn(SYS_read);
  EXPECT_OK(kill(tid, 0));
  EXPECT_ERRNO(ESRCH, kill(-tid, 0));
  EXPECT_ERRNO(ESRCH, syscall(SYS_tgkill, tid, tid, 0));
  close(pipes[1]);
  thread.Join();
  close(pipes[0]);
}

class QueueTest : public testing::Test {
 protected:
  QueueTest() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set_, &old_);
  }
  ~QueueTest() override {
    while (Take().si_signo != 0) {
    }
    sigprocmask(SIG_SETMASK, &old_, nullptr);
  }
  siginfo_t Take() {
    siginfo_t info = {};
    const timespec now = {};
    // The raw call: the C library's hides SI_TKILL.
    if (syscall(SYS_rt_sigtimedwait, &set_, &info, &now, sizeof(long)) < 0) info.si_signo = 0;
    return info;
  }
  static siginfo_t Info(int code) {
    siginfo_t info = {};
    info.si_signo = SIGTERM;  // replaced by the call's own
    info.si_code = code;
    info.si_pid = 12345;
    info.si_uid = 54321;
    info.si_value.sival_int = 77;
    return info;
  }
  sigset_t set_, old_;
};

TEST_F(QueueTest, CarriesWhatTheSenderSays) {
  siginfo_t info = Info(SI_QUEUE);
  ASSERT_OK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
  const siginfo_t got = Take();
  EXPECT_EQ(got.si_signo, SIGUSR1);
  EXPECT_EQ(got.si_code, SI_QUEUE);
  EXPECT_EQ(got.si_pid, 12345);
  EXPECT_EQ(got.si_uid, 54321u);
  EXPECT_EQ(got.si_value.sival_int, 77);
}

TEST_F(QueueTest, KillSaysWhoItWas) {
  EXPECT_EQ(RunAs({1000, 0, 0}, [] { return kill(getppid(), SIGUSR1); }), 0);
  siginfo_t got = Take();
  EXPECT_EQ(got.si_code, SI_USER);
  EXPECT_GT(got.si_pid, 0);
  EXPECT_EQ(got.si_uid, 1000u) << "the real user";
  ASSERT_OK(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1));
  got = Take();
  EXPECT_EQ(got.si_code, SI_TKILL);
  EXPECT_EQ(got.si_pid, getpid());
}

TEST_F(QueueTest, OnlyOneselfCanBeToldWhatTheKernelWouldSay) {
  Target other;
  for (const int code : std::initializer_list<int>{SI_USER, SI_KERNEL, SI_TKILL, 1}) {
    siginfo_t info = Info(code);
    EXPECT_ERRNO(EPERM, syscall(SYS_rt_sigqueueinfo, other.pid(), SIGUSR1, &info)) << code;
    EXPECT_ERRNO(EPERM, syscall(SYS_rt_tgsigqueueinfo, other.pid(), other.pid(), SIGUSR1, &info)) << code;
    EXPECT_ERRNO(EPERM, syscall(SYS_rt_sigqueueinfo, kNobodyHere, SIGUSR1, &info)) << code;
    EXPECT_OK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info)) << code;
    EXPECT_EQ(Take().si_code, code);
  }
}

TEST_F(QueueTest, Errors) {
  siginfo_t info = Info(SI_QUEUE);
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_sigqueueinfo, kNobodyHere, SIGUSR1, BadPointer()));
  EXPECT_ERRNO(EFAULT, syscall(SYS_rt_tgsigqueueinfo, 0, 0, SIGUSR1, BadPointer()));
  EXPECT_ERRNO(ESRCH, syscall(SYS_rt_sigqueueinfo, kNobodyHere, SIGUSR1, &info));
  EXPECT_ERRNO(EINVAL, syscall(SYS_rt_sigqueueinfo, getpid(), 65, &info));
}

TEST(PendingTest, StopAndContinueCancelEachOther) {
  EXPECT_EQ(RunInChild([] {
              sigset_t both, pending;
              sigemptyset(&both);
              for (const int signo : {SIGTSTP, SIGTTIN, SIGCONT}) sigaddset(&both, signo);
              sigprocmask(SIG_BLOCK, &both, nullptr);
              raise(SIGTSTP);
              kill(getpid(), SIGTTIN);
              kill(getpid(), SIGCONT);
              sigpending(&pending);
              EXPECT_FALSE(sigismember(&pending, SIGTSTP));
              EXPECT_FALSE(sigismember(&pending, SIGTTIN));
              EXPECT_TRUE(sigismember(&pending, SIGCONT));
              raise(SIGTSTP);
              sigpending(&pending);
              EXPECT_TRUE(sigismember(&pending, SIGTSTP));
              EXPECT_FALSE(sigismember(&pending, SIGCONT));
              return 0;
            }),
            0);
}

TEST(PendingTest, IgnoringDiscardsButBlockingKeeps) {
  EXPECT_EQ(RunInChild([] {
              sigset_t set, pending;
              sigemptyset(&set);
              for (const int signo : {SIGUSR1, SIGUSR2, SIGCHLD}) sigaddset(&set, signo);
              signal(SIGUSR1, SIG_IGN);
              raise(SIGUSR1);
              sigprocmask(SIG_BLOCK, &set, nullptr);
              sigpending(&pending);
              EXPECT_FALSE(sigismember(&pending, SIGUSR1));
              for (const int signo : {SIGUSR1, SIGUSR2, SIGCHLD}) raise(signo);
              sigpending(&pending);
              for (const int signo : {SIGUSR1, SIGUSR2, SIGCHLD}) EXPECT_TRUE(sigismember(&pending, signo)) << signo;
              signal(SIGUSR1, SIG_IGN);
              signal(SIGUSR2, SIG_IGN);
              signal(SIGCHLD, SIG_DFL);
              sigpending(&pending);
              for (const int signo : {SIGUSR1, SIGUSR2, SIGCHLD}) EXPECT_FALSE(sigismember(&pending, signo)) << signo;
              return 0;
            }),
            0);
}

// pidfds.

long Send(int fd, int signo, const siginfo_t* info = nullptr, unsigned flags = 0) {
  return syscall(SYS_pidfd_send_signal, fd, signo, info, flags);
}

TEST(PidfdTest, SendsWithChecks) {
  Target other({1000, 1000, 1000});
  ScopedFd fd(static_cast<int>(syscall(SYS_pidfd_open, other.pid(), 0)));
  ScopedFd proc(open(("/proc/" + std::to_string(other.pid())).c_str(), O_RDONLY | O_DIRECTORY));
  ScopedFd own(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  EXPECT_OK(Send(fd.get(), 0));
  EXPECT_OK(Send(proc.get(), 0)) << "the directory of /proc does as well";
  EXPECT_ERRNO(EINVAL, Send(fd.get(), 0, nullptr, 0x100));
  EXPECT_ERRNO(EINVAL, Send(fd.get(), 65));
  siginfo_t info = {};
  info.si_signo = SIGUSR1;
  info.si_code = SI_QUEUE;
  EXPECT_ERRNO(EINVAL, Send(fd.get(), SIGUSR2, &info)) << "the numbers must agree";
  EXPECT_ERRNO(EFAULT, Send(fd.get(), SIGUSR1, static_cast<siginfo_t*>(BadPointer())));
  info.si_code = SI_USER;
  EXPECT_ERRNO(EPERM, Send(fd.get(), SIGUSR1, &info));
  info.si_signo = 0;
  EXPECT_OK(Send(own.get(), 0, &info));
  EXPECT_ERRNO(EBADF, Send(-1, 0));
  TempDir dir;
  ScopedFd plain(open(dir.path().c_str(), O_RDONLY));
  EXPECT_ERRNO(EBADF, Send(plain.get(), 0));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, Send(fd.get(), SIGTERM));
              return 0;
            }),
            0);
}

TEST(PidfdTest, BecomesReadableWhenTheProcessEnds) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  ScopedFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd poll_fd = {fd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&poll_fd, 1, 0), 0);
  EXPECT_ERRNO(EINVAL, read(fd.get(), &poll_fd, 1));
  EXPECT_OK(Send(fd.get(), SIGKILL));
  EXPECT_EQ(poll(&poll_fd, 1, -1), 1);
  EXPECT_OK(Send(fd.get(), 0)) << "a zombie is there";
  siginfo_t info = {};
  EXPECT_OK(waitid(P_PIDFD, static_cast<id_t>(fd.get()), &info, WEXITED));
  EXPECT_EQ(info.si_pid, pid);
  EXPECT_EQ(info.si_status, SIGKILL);
  EXPECT_ERRNO(ESRCH, Send(fd.get(), 0));
  EXPECT_ERRNO(ECHILD, waitid(P_PIDFD, static_cast<id_t>(fd.get()), &info, WEXITED));
}

TEST(PidfdTest, OpenErrors) {
  EXPECT_ERRNO(EINVAL, syscall(SYS_pidfd_open, 0, 0));
  EXPECT_ERRNO(EINVAL, syscall(SYS_pidfd_open, -1, 0));
  EXPECT_ERRNO(EINVAL, syscall(SYS_pidfd_open, getpid(), 0x40000000));
  EXPECT_ERRNO(ESRCH, syscall(SYS_pidfd_open, kNobodyHere, 0));
  siginfo_t info;
  EXPECT_ERRNO(EINVAL, waitid(P_PIDFD, static_cast<id_t>(-1), &info, WEXITED));
  EXPECT_ERRNO(EBADF, waitid(P_PIDFD, 0x3fff, &info, WEXITED));
}

TEST(PidfdTest, NonBlockingWait) {
  Target child;
  ScopedFd fd(static_cast<int>(syscall(SYS_pidfd_open, child.pid(), O_NONBLOCK)));
  ASSERT_GE(fd.get(), 0);
  siginfo_t info;
  EXPECT_ERRNO(EAGAIN, waitid(P_PIDFD, static_cast<id_t>(fd.get()), &info, WEXITED));
}

TEST(PidfdTest, TakesADescriptor) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  Target child;
  ScopedFd fd(static_cast<int>(syscall(SYS_pidfd_open, child.pid(), 0)));
  close(pipes[1]);
  ScopedFd taken(static_cast<int>(syscall(SYS_pidfd_getfd, fd.get(), pipes[1], 0)));
  ASSERT_GE(taken.get(), 0);
  EXPECT_EQ(fcntl(taken.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(write(taken.get(), "x", 1), 1);
  EXPECT_ERRNO(EBADF, syscall(SYS_pidfd_getfd, fd.get(), 0x3fff, 0));
  EXPECT_ERRNO(EBADF, syscall(SYS_pidfd_getfd, -1, 0, 0));
  EXPECT_ERRNO(EBADF, syscall(SYS_pidfd_getfd, pipes[0], 0, 0));
  EXPECT_ERRNO(EINVAL, syscall(SYS_pidfd_getfd, fd.get(), 0, 1));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, syscall(SYS_pidfd_getfd, fd.get(), pipes[0], 0));
              return 0;
            }),
            0);
  close(pipes[0]);
}

}  // namespace
}  // namespace guest
