// seccomp(2), prctl(PR_SET_SECCOMP), seccomp_unotify(2). Everything happens in children: filters
// cannot be taken off.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <vector>

#include "tests/util/guest.h"

namespace {

using Program = std::vector<sock_filter>;

int Seccomp(unsigned operation, unsigned flags, void* args) {
  return static_cast<int>(syscall(SYS_seccomp, operation, flags, args));
}

int Install(Program program, unsigned flags = 0) {
  sock_fprog prog = {static_cast<unsigned short>(program.size()), program.data()};
  return Seccomp(SECCOMP_SET_MODE_FILTER, flags, &prog);
}

// `verdict` for call `nr`, everything else is allowed.
Program OnCall(int nr, uint32_t verdict) {
  return {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, verdict),
          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
}

void NoNewPrivs() { ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0); }

// Wait status of a child that runs `body`.
int StatusOf(const std::function<void()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    body();
    _exit(0);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return status;
}

TEST(SeccompTest, StrictKillsWithSigkill) {
  const int status = StatusOf([] {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) syscall(SYS_exit, 1);
    if (write(-1, "x", 1) != -1) syscall(SYS_exit, 2);
    syscall(SYS_getpid);
    syscall(SYS_exit, 3);
  });
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST(SeccompTest, StrictAllowsExit) {
  const int status = StatusOf([] {
    if (Seccomp(SECCOMP_SET_MODE_STRICT, 0, nullptr) != 0) _exit(1);
    syscall(SYS_exit, 7);
  });
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(SeccompTest, NeedsNoNewPrivsOrPrivilege) {
  EXPECT_EQ(guest::RunAsNobody([] {
              EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
              EXPECT_ERRNO(EACCES, Install(OnCall(SYS_getpid, SECCOMP_RET_ALLOW)));
              NoNewPrivs();
              EXPECT_OK(Install(OnCall(SYS_getpid, SECCOMP_RET_ALLOW)));
              return 0;
            }),
            0);
}

TEST(SeccompTest, Errno) {
  EXPECT_EQ(guest::RunInChild([] {
              NoNewPrivs();
              EXPECT_EQ(prctl(PR_GET_SECCOMP), 0);
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV)));
              EXPECT_ERRNO(EXDEV, syscall(SYS_getppid));
              EXPECT_EQ(prctl(PR_GET_SECCOMP), SECCOMP_MODE_FILTER);
              // 0 is success without the call; values above 4095 are cut.
              EXPECT_OK(Install(OnCall(SYS_getpgrp, SECCOMP_RET_ERRNO)));
              EXPECT_EQ(syscall(SYS_getpgrp), 0);
              EXPECT_OK(Install(OnCall(SYS_getsid, SECCOMP_RET_ERRNO | 0xffff)));
              EXPECT_ERRNO(4095, syscall(SYS_getsid, 0));
              EXPECT_GT(getpid(), 0);
              EXPECT_NE(guest::ReadFileText("/proc/self/status").find("\nSeccomp:\t2\n"), std::string::npos);
              return 0;
            }),
            0);
}

TEST(SeccompTest, ArgumentsAndInstructionPointer) {
  EXPECT_EQ(guest::RunInChild([] {
              NoNewPrivs();
              Program program = {
                  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kcmp, 0, 7),
                  // The high half of the first argument decides.
                  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0]) + 4),
                  BPF_STMT(BPF_ST, 3),
                  BPF_STMT(BPF_LDX | BPF_MEM, 3),
                  BPF_STMT(BPF_LD | BPF_IMM, 7),
                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1),
                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EL2HLT),
                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EBADE),
                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
              };
              EXPECT_OK(Install(program));
              EXPECT_ERRNO(EL2HLT, syscall(SYS_kcmp, 7ul << 32, 0, 0, 0, 0));
              EXPECT_ERRNO(EBADE, syscall(SYS_kcmp, 7, 0, 0, 0, 0));
              return 0;
            }),
            0);
}

TEST(SeccompTest, MostRestrictiveWins) {
  EXPECT_EQ(guest::RunInChild([] {
              NoNewPrivs();
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_ERRNO | 10)));
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_ERRNO | 20)));
              EXPECT_ERRNO(20, syscall(SYS_getppid));  // the newest of equals
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_ALLOW)));
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_LOG)));
              EXPECT_ERRNO(20, syscall(SYS_getppid));
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_TRACE)));
              EXPECT_ERRNO(20, syscall(SYS_getppid));
              return 0;
            }),
            0);
}

TEST(SeccompTest, TraceWithoutTracerIsEnosys) {
  EXPECT_EQ(guest::RunInChild([] {
              NoNewPrivs();
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_TRACE | 5)));
              EXPECT_ERRNO(ENOSYS, syscall(SYS_getppid));
              return 0;
            }),
            0);
}

TEST(SeccompTest, KillProcess) {
  const int status = StatusOf([] {
    NoNewPrivs();
    signal(SIGSYS, [](int) { _exit(9); });
    Install(OnCall(SYS_getppid, SECCOMP_RET_KILL_PROCESS));
    syscall(SYS_getppid);
  });
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

TEST(SeccompTest, KillThreadLeavesTheOthers) {
  EXPECT_EQ(guest::RunInChild([] {
              NoNewPrivs();
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_KILL_THREAD)));
              pthread_t thread;
              const auto body = [](void*) -> void* {
                syscall(SYS_getppid);
                _exit(8);
              };
              EXPECT_EQ(pthread_create(&thread, nullptr, body, nullptr), 0);
              EXPECT_EQ(pthread_join(thread, nullptr), 0);
              return 0;
            }),
            0);
}

siginfo_t trap_info;
void OnTrap(int, siginfo_t* info, void*) { trap_info = *info; }

TEST(SeccompTest, Trap) {
  EXPECT_EQ(guest::RunInChild([] {
              struct sigaction action = {};
              action.sa_sigaction = OnTrap;
              action.sa_flags = SA_SIGINFO;
              sigaction(SIGSYS, &action, nullptr);
              NoNewPrivs();
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_TRAP | 77)));
              // As before the call: the number is still in the register.
              EXPECT_EQ(syscall(SYS_getppid), SYS_getppid);
              EXPECT_EQ(trap_info.si_signo, SIGSYS);
              EXPECT_EQ(trap_info.si_code, 1);  // SYS_SECCOMP
              EXPECT_EQ(trap_info.si_errno, 77);
              EXPECT_EQ(trap_info.si_syscall, SYS_getppid);
              EXPECT_EQ(trap_info.si_arch, AUDIT_ARCH_X86_64);
              EXPECT_NE(trap_info.si_call_addr, nullptr);
              return 0;
            }),
            0);
}

TEST(SeccompTest, BlockedTrapKills) {
  const int status = StatusOf([] {
    NoNewPrivs();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    Install(OnCall(SYS_getppid, SECCOMP_RET_TRAP));
    syscall(SYS_getppid);
  });
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

TEST(SeccompTest, InheritedAcrossForkAndExec) {
  const int status = StatusOf([] {
    NoNewPrivs();
    Install(OnCall(SYS_getppid, SECCOMP_RET_ERRNO | 40));
    const int inner = StatusOf([] { _exit(syscall(SYS_getppid) == -1 && errno == 40 ? 0 : 1); });
    if (inner != 0) _exit(1);
    execl("/bin/grep", "grep", "-q", "Seccomp:.2", "/proc/self/status", nullptr);
    _exit(2);
  });
  EXPECT_EQ(status, 0);
}

TEST(SeccompTest, BadPrograms) {
  const auto refused = [](Program program) {
    NoNewPrivs();
    errno = 0;
    return Install(std::move(program)) == -1 && errno == EINVAL;
  };
  const sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const Program bad[] = {
      {},
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)},                            // no return
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), allow},                     // unaligned
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sizeof(seccomp_data)), allow},  // past the data
      {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), allow},                     // no byte loads
      {BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0), allow},
      {BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), allow},
      {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), allow},
      {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), allow},
      {BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 3), allow},
      {BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), allow},
      {BPF_STMT(BPF_LD | BPF_MEM, 16), allow},
      {BPF_STMT(BPF_LD | BPF_MEM, 0), allow},  // never written
      {BPF_STMT(0xffff, 0), allow},
      Program(BPF_MAXINSNS + 1, allow),
  };
  EXPECT_EQ(guest::RunInChild([&] {
              for (const Program& program : bad) EXPECT_TRUE(refused(program)) << &program - bad;
              // Written on one way only.
              EXPECT_TRUE(refused({BPF_STMT(BPF_LD | BPF_IMM, 1), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
                                   BPF_STMT(BPF_ST, 2), BPF_STMT(BPF_LD | BPF_MEM, 2), allow}));
              return 0;
            }),
            0);
}

TEST(SeccompTest, DivisionByZeroIsKill) {
  const int status = StatusOf([] {
    NoNewPrivs();
    Install({BPF_STMT(BPF_LDX | BPF_IMM, 0), BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0),
             BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)});
    _exit(1);
  });
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

TEST(SeccompTest, BadArguments) {
  EXPECT_ERRNO(EINVAL, Seccomp(99, 0, nullptr));
  EXPECT_ERRNO(EINVAL, Seccomp(SECCOMP_SET_MODE_STRICT, 1, nullptr));
  EXPECT_ERRNO(EINVAL, Seccomp(SECCOMP_SET_MODE_FILTER, 1u << 30, nullptr));
  EXPECT_ERRNO(EFAULT, Seccomp(SECCOMP_SET_MODE_FILTER, 0, nullptr));
  EXPECT_ERRNO(EINVAL, prctl(PR_SET_SECCOMP, 77, 0));
  uint32_t action = SECCOMP_RET_TRAP;
  EXPECT_OK(Seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action));
  action = 0x12340000;
  EXPECT_ERRNO(EOPNOTSUPP, Seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action));
  EXPECT_ERRNO(EFAULT, Seccomp(SECCOMP_GET_ACTION_AVAIL, 0, nullptr));
  EXPECT_ERRNO(EINVAL, Seccomp(SECCOMP_GET_ACTION_AVAIL, 1, &action));
  seccomp_notif_sizes sizes = {};
  EXPECT_OK(Seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes));
  EXPECT_EQ(sizes.seccomp_data, sizeof(seccomp_data));
}

struct Sibling {
  std::atomic<pid_t> tid{0};
  std::atomic<bool> go{false};
  bool own_filter = false;
};

void* SiblingMain(void* arg) {
  auto* s = static_cast<Sibling*>(arg);
  if (s->own_filter) {
    EXPECT_OK(Install(OnCall(SYS_getpgid, SECCOMP_RET_ERRNO | 11)));
  }
  s->tid = gettid();
  while (!s->go) sched_yield();
  errno = 0;
  syscall(SYS_getppid);
  return reinterpret_cast<void*>(static_cast<long>(errno));
}

TEST(SeccompTest, TsyncReachesAllThreads) {
  EXPECT_EQ(guest::RunInChild([] {
              NoNewPrivs();
              Sibling sibling;
              pthread_t thread;
              EXPECT_EQ(pthread_create(&thread, nullptr, SiblingMain, &sibling), 0);
              while (sibling.tid == 0) sched_yield();
              EXPECT_OK(Install(OnCall(SYS_getppid, SECCOMP_RET_ERRNO | 33), SECCOMP_FILTER_FLAG_TSYNC));
              sibling.go = true;
              void* error = nullptr;
              pthread_join(thread, &error);
              EXPECT_EQ(reinterpret_cast<long>(error), 33);
              return 0;
            }),
            0);
}

TEST(SeccompTest, TsyncNamesTheThreadThatRefuses) {
  EXPECT_EQ(guest::RunInChild([] {
              NoNewPrivs();
              Sibling sibling;
              sibling.own_filter = true;
              pthread_t thread;
              EXPECT_EQ(pthread_create(&thread, nullptr, SiblingMain, &sibling), 0);
              while (sibling.tid == 0) sched_yield();
              EXPECT_EQ(Install(OnCall(SYS_getppid, SECCOMP_RET_ERRNO | 33), SECCOMP_FILTER_FLAG_TSYNC), sibling.tid);
              EXPECT_ERRNO(ESRCH, Install(OnCall(SYS_getppid, SECCOMP_RET_ERRNO | 33),
                                          SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH));
              sibling.go = true;
              void* error = nullptr;
              pthread_join(thread, &error);
              EXPECT_EQ(reinterpret_cast<long>(error), 0);
              EXPECT_GE(syscall(SYS_getppid), 0);
              return 0;
            }),
            0);
}

// A child whose getppid(2) goes to us.
struct Supervised {
  explicit Supervised(const std::function<int()>& body) {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    pid = fork();
    if (pid == 0) {
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      const int fd = Install(OnCall(SYS_getppid, SECCOMP_RET_USER_NOTIF), SECCOMP_FILTER_FLAG_NEW_LISTENER);
      if (fd < 0) _exit(100);
      // The parent takes it with pidfd_getfd.
      if (write(pair[1], &fd, sizeof(fd)) != sizeof(fd)) _exit(101);
      char ack;
      if (read(pair[1], &ack, 1) != 1) _exit(102);
      close(fd);
      _exit(body());
    }
    int remote = -1;
    EXPECT_EQ(read(pair[0], &remote, sizeof(remote)), static_cast<ssize_t>(sizeof(remote)));
    const guest::ScopedFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    listener.reset(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), remote, 0)));
    EXPECT_GE(listener.get(), 0) << strerror(errno);
    EXPECT_EQ(write(pair[0], "x", 1), 1);
    close(pair[0]);
    close(pair[1]);
  }
  int Wait() {
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
  }
  pid_t pid;
  guest::ScopedFd listener{-1};
};

TEST(SeccompNotifyTest, AnswersAndContinues) {
  Supervised child([] {
    if (syscall(SYS_getppid) != 4242) return 1;
    if (syscall(SYS_getppid) != -1 || errno != EDOM) return 2;
    return getppid() > 0 ? 0 : 3;
  });
  pollfd p = {child.listener.get(), POLLIN, 0};
  ASSERT_EQ(poll(&p, 1, 20000), 1);
  EXPECT_EQ(p.revents & POLLIN, POLLIN);
  for (int round = 0; round < 3; ++round) {
    seccomp_notif notif = {};
    ASSERT_OK(ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &notif));
    EXPECT_EQ(static_cast<pid_t>(notif.pid), child.pid);
    EXPECT_EQ(notif.data.nr, SYS_getppid);
    EXPECT_OK(ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &notif.id));
    seccomp_notif_resp response = {};
    response.id = notif.id;
    if (round == 0) response.val = 4242;
    if (round == 1) response.error = -EDOM;
    if (round == 2) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    EXPECT_OK(ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &response));
    EXPECT_ERRNO(ENOENT, ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &notif.id));
  }
  EXPECT_EQ(child.Wait(), 0);
  p = {child.listener.get(), POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 20000), 1);
  EXPECT_EQ(p.revents, POLLHUP);
}

TEST(SeccompNotifyTest, AddFd) {
  Supervised child([] {
    const auto fd = static_cast<int>(syscall(SYS_getppid));
    char byte = 0;
    return read(fd, &byte, 1) == 1 && byte == 'z' && (fcntl(fd, F_GETFD) & FD_CLOEXEC) ? 0 : 1;
  });
  int pipe_fds[2];
  ASSERT_OK(pipe(pipe_fds));
  ASSERT_EQ(write(pipe_fds[1], "z", 1), 1);
  seccomp_notif notif = {};
  ASSERT_OK(ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &notif));
  seccomp_notif_addfd add = {};
  add.id = notif.id;
  add.srcfd = static_cast<unsigned>(pipe_fds[0]);
  add.newfd = 5;
  EXPECT_ERRNO(EINVAL, ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add));
  add.newfd = 0;
  add.newfd_flags = O_CLOEXEC;
  const int remote = ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add);
  EXPECT_GE(remote, 0) << strerror(errno);
  seccomp_notif_resp response = {};
  response.id = notif.id;
  response.val = remote;
  EXPECT_OK(ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &response));
  EXPECT_EQ(child.Wait(), 0);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST(SeccompNotifyTest, NobodyListens) {
  Supervised child([] {
    errno = 0;
    return syscall(SYS_getppid) == -1 && errno == ENOSYS ? 0 : 1;
  });
  seccomp_notif notif = {};
  ASSERT_OK(ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &notif));
  child.listener.reset();
  EXPECT_EQ(child.Wait(), 0);
}

TEST(SeccompNotifyTest, BadRequests) {
  Supervised child([] { return syscall(SYS_getppid) == 1 ? 0 : 1; });
  seccomp_notif notif = {};
  notif.pid = 1;
  EXPECT_ERRNO(EINVAL, ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &notif));
  notif.pid = 0;
  ASSERT_OK(ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &notif));
  seccomp_notif_resp response = {};
  response.id = notif.id + 100;
  EXPECT_ERRNO(ENOENT, ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &response));
  response.id = notif.id;
  response.flags = 0x80;
  EXPECT_ERRNO(EINVAL, ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &response));
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  response.val = 1;
  EXPECT_ERRNO(EINVAL, ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &response));
  response.flags = 0;
  EXPECT_OK(ioctl(child.listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &response));
  EXPECT_EQ(child.Wait(), 0);
}

}  // namespace
