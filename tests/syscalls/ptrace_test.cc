// ptrace(2).
#include <elf.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace {

// The C library's ptrace(3) hides what PEEK returns; these are the raw calls.
long Ptrace(long request, pid_t pid, unsigned long addr = 0, unsigned long data = 0) {
  return syscall(SYS_ptrace, request, pid, addr, data);
}
template <typename T>
long PtraceTo(long request, pid_t pid, T* data, unsigned long addr = 0) {
  return Ptrace(request, pid, addr, reinterpret_cast<unsigned long>(data));
}

constexpr long kGetRegs = 12, kSetRegs = 13;

int WaitFor(pid_t pid) {
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, __WALL), pid) << strerror(errno);
  return status;
}
void ExpectStop(pid_t pid, int signal, int event = 0) {
  const int status = WaitFor(pid);
  EXPECT_TRUE(WIFSTOPPED(status)) << std::hex << status;
  EXPECT_EQ(status >> 8, signal | event << 8) << std::hex << status;
}
void ExpectExit(pid_t pid, int code) {
  const int status = WaitFor(pid);
  EXPECT_TRUE(WIFEXITED(status)) << std::hex << status;
  EXPECT_EQ(WEXITSTATUS(status), code);
}

// A child that asks to be traced, stops, and then runs `body`.
pid_t Traced(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (Ptrace(PTRACE_TRACEME, 0) != 0) _exit(120);
    raise(SIGSTOP);
    _exit(body());
  }
  ExpectStop(pid, SIGSTOP);
  return pid;
}

volatile long word = 0x1234567812345678;

TEST(PtraceTest, PeekAndPoke) {
  const pid_t pid = Traced([] { return word == 77 ? 3 : 4; });
  long got = 0;
  const auto at = reinterpret_cast<unsigned long>(&word);
  EXPECT_OK(PtraceTo(PTRACE_PEEKDATA, pid, &got, at));
  EXPECT_EQ(got, 0x1234567812345678);
  EXPECT_ERRNO(EIO, PtraceTo(PTRACE_PEEKDATA, pid, &got, 16));
  EXPECT_ERRNO(EIO, Ptrace(PTRACE_POKEDATA, pid, 16, 1));
  EXPECT_OK(Ptrace(PTRACE_POKEDATA, pid, at, 77));
  EXPECT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectExit(pid, 3);
}

int __attribute__((noinline)) Answer() {
  asm volatile("");
  return 41;
}

TEST(PtraceTest, BreakpointInReadOnlyText) {
  const pid_t pid = Traced([] { return Answer(); });
  const auto at = reinterpret_cast<unsigned long>(&Answer);
  long old = 0;
  ASSERT_OK(PtraceTo(PTRACE_PEEKTEXT, pid, &old, at));
  ASSERT_OK(Ptrace(PTRACE_POKETEXT, pid, at, (static_cast<unsigned long>(old) & ~0xfful) | 0xcc));
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectStop(pid, SIGTRAP);
  user_regs_struct regs;
  ASSERT_OK(PtraceTo(kGetRegs, pid, &regs));
  EXPECT_EQ(regs.rip, at + 1);
  siginfo_t info = {};
  EXPECT_OK(PtraceTo(PTRACE_GETSIGINFO, pid, &info));
  EXPECT_EQ(info.si_signo, SIGTRAP);
  EXPECT_EQ(info.si_code, SI_KERNEL);
  ASSERT_OK(Ptrace(PTRACE_POKETEXT, pid, at, static_cast<unsigned long>(old)));
  regs.rip = at;
  ASSERT_OK(PtraceTo(kSetRegs, pid, &regs));
  // One instruction further.
  ASSERT_OK(Ptrace(PTRACE_SINGLESTEP, pid));
  ExpectStop(pid, SIGTRAP);
  ASSERT_OK(PtraceTo(kGetRegs, pid, &regs));
  EXPECT_NE(regs.rip, at);
  EXPECT_LT(regs.rip - at, 16u);
  EXPECT_EQ(regs.eflags & 0x100, 0u);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectExit(pid, 41);
}

TEST(PtraceTest, SystemCallStops) {
  const pid_t pid = Traced([] { return syscall(SYS_getppid) == 4711 && syscall(SYS_getpgrp) == -1 ? 5 : 6; });
  ASSERT_OK(Ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
  const auto next = [&] {
    EXPECT_OK(Ptrace(PTRACE_SYSCALL, pid));
    ExpectStop(pid, SIGTRAP | 0x80);
    user_regs_struct regs = {};
    EXPECT_OK(PtraceTo(kGetRegs, pid, &regs));
    return regs;
  };
  ptrace_syscall_info info = {};
  user_regs_struct regs = next();
  while (regs.orig_rax != SYS_getppid) regs = next();
  EXPECT_EQ(static_cast<long>(regs.rax), -ENOSYS);
  EXPECT_GT(Ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), reinterpret_cast<unsigned long>(&info)), 0);
  EXPECT_EQ(info.op, PTRACE_SYSCALL_INFO_ENTRY);
  EXPECT_EQ(info.entry.nr, static_cast<unsigned>(SYS_getppid));
  EXPECT_EQ(info.arch, static_cast<unsigned>(AUDIT_ARCH_X86_64));
  regs = next();
  EXPECT_EQ(static_cast<pid_t>(regs.rax), getpid());
  EXPECT_GT(Ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), reinterpret_cast<unsigned long>(&info)), 0);
  EXPECT_EQ(info.op, PTRACE_SYSCALL_INFO_EXIT);
  EXPECT_EQ(info.exit.rval, getpid());
  regs.rax = 4711;
  EXPECT_OK(PtraceTo(kSetRegs, pid, &regs));
  // A call number of -1 skips the call.
  regs = next();
  EXPECT_EQ(regs.orig_rax, static_cast<unsigned long>(SYS_getpgrp));
  EXPECT_OK(Ptrace(PTRACE_POKEUSR, pid, offsetof(user, regs.orig_rax), ~0ul));
  regs = next();
  EXPECT_EQ(static_cast<long>(regs.rax), -ENOSYS);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectExit(pid, 5);
}

TEST(PtraceTest, EmulatedCallIsNotMade) {
  const pid_t pid = Traced([] { return syscall(SYS_exit_group, 9) == 1234 ? 8 : 7; });
  // raise(3) makes calls of its own before ours.
  for (;;) {
    ASSERT_OK(Ptrace(31 /*PTRACE_SYSEMU*/, pid));
    ExpectStop(pid, SIGTRAP);
    user_regs_struct regs = {};
    ASSERT_OK(PtraceTo(kGetRegs, pid, &regs));
    const bool ours = regs.orig_rax == SYS_exit_group;
    regs.rax = ours ? 1234 : 0;
    ASSERT_OK(PtraceTo(kSetRegs, pid, &regs));
    if (ours) break;
  }
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectExit(pid, 8);
}

TEST(PtraceTest, SignalsAreShownFirst) {
  const pid_t pid = Traced([] {
    raise(SIGUSR1);  // would kill
    raise(SIGCHLD);  // would be ignored
    raise(SIGUSR2);
    return 0;
  });
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectStop(pid, SIGUSR1);
  siginfo_t info = {};
  EXPECT_OK(PtraceTo(PTRACE_GETSIGINFO, pid, &info));
  EXPECT_EQ(info.si_signo, SIGUSR1);
  EXPECT_EQ(info.si_pid, pid);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));  // dropped
  ExpectStop(pid, SIGCHLD);
  EXPECT_ERRNO(EIO, Ptrace(PTRACE_CONT, pid, 0, 1000));
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectStop(pid, SIGUSR2);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid, 0, SIGTERM));  // another one instead
  const int status = WaitFor(pid);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST(PtraceTest, AttachAndDetach) {
  int fds[2];
  ASSERT_OK(pipe(fds));
  const pid_t pid = fork();
  if (pid == 0) {
    char byte;
    _exit(read(fds[0], &byte, 1) == 1 ? 11 : 12);
  }
  ASSERT_OK(Ptrace(PTRACE_ATTACH, pid));
  EXPECT_ERRNO(EPERM, Ptrace(PTRACE_ATTACH, pid));
  ExpectStop(pid, SIGSTOP);
  const std::string status = guest::ReadFileText("/proc/" + std::to_string(pid) + "/status");
  EXPECT_NE(status.find("TracerPid:\t" + std::to_string(getpid())), std::string::npos);
  EXPECT_NE(status.find("t (tracing stop)"), std::string::npos);
  ASSERT_OK(Ptrace(PTRACE_DETACH, pid));
  EXPECT_ERRNO(ESRCH, Ptrace(PTRACE_CONT, pid));
  ASSERT_EQ(write(fds[1], "x", 1), 1);  // the interrupted read was restarted
  ExpectExit(pid, 11);
  close(fds[0]);
  close(fds[1]);
}

TEST(PtraceTest, SeizeAndInterrupt) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  EXPECT_ERRNO(EIO, Ptrace(PTRACE_SEIZE, pid, 1));
  EXPECT_ERRNO(EIO, Ptrace(PTRACE_SEIZE, pid, 0, 1ul << 31));
  ASSERT_OK(Ptrace(PTRACE_SEIZE, pid));
  EXPECT_ERRNO(ESRCH, Ptrace(PTRACE_CONT, pid));  // runs
  ASSERT_OK(Ptrace(PTRACE_INTERRUPT, pid));
  ExpectStop(pid, SIGTRAP, PTRACE_EVENT_STOP);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  // A group-stop, which LISTEN leaves in force.
  ASSERT_OK(kill(pid, SIGSTOP));
  ExpectStop(pid, SIGSTOP);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid, 0, SIGSTOP));
  ExpectStop(pid, SIGSTOP, PTRACE_EVENT_STOP);
  ASSERT_OK(Ptrace(PTRACE_LISTEN, pid));
  EXPECT_ERRNO(ESRCH, Ptrace(PTRACE_CONT, pid));
  ASSERT_OK(kill(pid, SIGCONT));
  ExpectStop(pid, SIGTRAP, PTRACE_EVENT_STOP);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectStop(pid, SIGCONT);
  ASSERT_OK(kill(pid, SIGKILL));
  const int status = WaitFor(pid);
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
}

TEST(PtraceTest, ForkExecAndExitEvents) {
  const pid_t pid = Traced([] {
    const pid_t child = fork();
    if (child == 0) _exit(2);
    waitpid(child, nullptr, 0);
    execl("/bin/true", "true", nullptr);
    return 1;
  });
  ASSERT_OK(Ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT));
  EXPECT_ERRNO(EINVAL, Ptrace(PTRACE_SETOPTIONS, pid, 0, ~0ul));
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectStop(pid, SIGTRAP, PTRACE_EVENT_FORK);
  unsigned long message = 0;
  ASSERT_OK(PtraceTo(PTRACE_GETEVENTMSG, pid, &message));
  const auto child = static_cast<pid_t>(message);
  ExpectStop(child, SIGSTOP);
  ASSERT_OK(Ptrace(PTRACE_CONT, child));
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectStop(child, SIGTRAP, PTRACE_EVENT_EXIT);
  ASSERT_OK(PtraceTo(PTRACE_GETEVENTMSG, child, &message));
  EXPECT_EQ(message, 0x200ul);
  ASSERT_OK(Ptrace(PTRACE_CONT, child));
  ExpectExit(child, 2);
  // The parent saw its child only after us.
  int status = WaitFor(pid);
  if (status >> 8 == SIGCHLD) {
    ASSERT_OK(Ptrace(PTRACE_CONT, pid));
    status = WaitFor(pid);
  }
  EXPECT_EQ(status >> 8, SIGTRAP | PTRACE_EVENT_EXEC << 8);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectStop(pid, SIGTRAP, PTRACE_EVENT_EXIT);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectExit(pid, 0);
}

TEST(PtraceTest, ThreadsAreTracees) {
  const pid_t pid = Traced([] {
    pthread_t thread;
    pthread_create(
        &thread, nullptr, [](void*) -> void* { return nullptr; }, nullptr);
    pthread_join(thread, nullptr);
    return 0;
  });
  ASSERT_OK(Ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACECLONE));
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectStop(pid, SIGTRAP, PTRACE_EVENT_CLONE);
  unsigned long message = 0;
  ASSERT_OK(PtraceTo(PTRACE_GETEVENTMSG, pid, &message));
  const auto thread = static_cast<pid_t>(message);
  ExpectStop(thread, SIGSTOP);
  ASSERT_OK(Ptrace(PTRACE_CONT, thread));
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectExit(thread, 0);
  ExpectExit(pid, 0);
}

TEST(PtraceTest, RegisterSets) {
  const pid_t pid = Traced([] { return 0; });
  user_regs_struct regs = {};
  iovec iov = {&regs, sizeof(regs) + 4};
  EXPECT_ERRNO(EINVAL, PtraceTo(PTRACE_GETREGSET, pid, &iov, NT_PRSTATUS));
  iov.iov_len = sizeof(regs) + 96;
  ASSERT_OK(PtraceTo(PTRACE_GETREGSET, pid, &iov, NT_PRSTATUS));
  EXPECT_EQ(iov.iov_len, sizeof(regs));
  EXPECT_NE(regs.rip, 0u);
  user_fpregs_struct fp = {};
  iov = {&fp, sizeof(fp)};
  ASSERT_OK(PtraceTo(PTRACE_GETREGSET, pid, &iov, NT_PRFPREG));
  EXPECT_EQ(iov.iov_len, sizeof(fp));
  fp.xmm_space[4] = 0xabcd;
  EXPECT_OK(PtraceTo(PTRACE_SETREGSET, pid, &iov, NT_PRFPREG));
  user_fpregs_struct again = {};
  iov = {&again, sizeof(again)};
  EXPECT_OK(PtraceTo(PTRACE_GETREGSET, pid, &iov, NT_PRFPREG));
  EXPECT_EQ(again.xmm_space[4], 0xabcdu);
  EXPECT_ERRNO(EINVAL, PtraceTo(PTRACE_GETREGSET, pid, &iov, 0x9999));
  EXPECT_ERRNO(EIO, PtraceTo(PTRACE_PEEKUSR, pid, &regs, 3));
  ASSERT_OK(Ptrace(PTRACE_KILL, pid));
  WaitFor(pid);
}

TEST(PtraceTest, SeccompTrace) {
  const pid_t pid = Traced([] {
    sock_filter program[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                             BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                             BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 55),
                             BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    sock_fprog prog = {4, program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0) return 1;
    return syscall(SYS_getppid) > 0 ? 0 : 2;
  });
  ASSERT_OK(Ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP));
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectStop(pid, SIGTRAP, PTRACE_EVENT_SECCOMP);
  unsigned long message = 0;
  ASSERT_OK(PtraceTo(PTRACE_GETEVENTMSG, pid, &message));
  EXPECT_EQ(message, 55u);
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectExit(pid, 0);
}

TEST(PtraceTest, Errors) {
  EXPECT_ERRNO(ESRCH, Ptrace(PTRACE_ATTACH, 0x3ffffff));
  EXPECT_ERRNO(EPERM, Ptrace(PTRACE_ATTACH, getpid()));
  const pid_t pid = Traced([] { return 0; });
  EXPECT_ERRNO(EIO, Ptrace(0x7777, pid));
  EXPECT_ERRNO(EFAULT, PtraceTo(kGetRegs, pid, static_cast<char*>(guest::BadPointer())));
  EXPECT_ERRNO(EFAULT, PtraceTo(PTRACE_GETEVENTMSG, pid, static_cast<char*>(guest::BadPointer())));
  EXPECT_ERRNO(EIO, Ptrace(PTRACE_INTERRUPT, pid));  // not seized
  ASSERT_OK(Ptrace(PTRACE_CONT, pid));
  ExpectExit(pid, 0);
}

TEST(PtraceTest, TracerThatDiesLetsGoOrKills) {
  int fds[2];
  ASSERT_OK(pipe(fds));
  for (const unsigned long options : {0ul, static_cast<unsigned long>(PTRACE_O_EXITKILL)}) {
    const pid_t pid = fork();
    if (pid == 0) {
      char byte;
      _exit(read(fds[0], &byte, 1) == 1 ? 21 : 22);
    }
    const pid_t tracer = fork();
    if (tracer == 0) _exit(Ptrace(PTRACE_SEIZE, pid, 0, options) == 0 ? 0 : 1);
    ExpectExit(tracer, 0);
    if (options == 0) {
      ASSERT_EQ(write(fds[1], "x", 1), 1);
      ExpectExit(pid, 21);
    } else {
      const int status = WaitFor(pid);
      EXPECT_TRUE(WIFSIGNALED(status)) << status;
      EXPECT_EQ(WTERMSIG(status), SIGKILL);
    }
  }
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
