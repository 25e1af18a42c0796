// Signal delivery: masks, queues, handlers, siginfo, alternate stacks, restarts, faults.
#include <errno.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <vector>

#include "tests/util/sleeping.h"

namespace {

std::atomic<int> count;
std::vector<int>* order;
siginfo_t last_info;
sigjmp_buf jump;

void Count(int) { ++count; }

// Installs a handler for the life of a test.
class Handler {
 public:
  Handler(int signo, void (*handler)(int), int flags = 0) : signo_(signo) {
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(signo, &action, &old_);
    count = 0;
  }
  Handler(int signo, void (*handler)(int, siginfo_t*, void*), int flags = 0) : signo_(signo) {
    struct sigaction action = {};
    action.sa_sigaction = handler;
    action.sa_flags = flags | SA_SIGINFO;
    sigaction(signo, &action, &old_);
    count = 0;
  }
  ~Handler() { sigaction(signo_, &old_, nullptr); }

 private:
  const int signo_;
  struct sigaction old_;
};

sigset_t SetOf(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signo : signals) sigaddset(&set, signo);
  return set;
}

class Blocked {
 public:
  explicit Blocked(std::initializer_list<int> signals) {
    const sigset_t set = SetOf(signals);
    sigprocmask(SIG_BLOCK, &set, &old_);
  }
  ~Blocked() { sigprocmask(SIG_SETMASK, &old_, nullptr); }

 private:
  sigset_t old_;
};

TEST(SignalTest, HandlerRunsOnce) {
  Handler handler(SIGUSR1, Count);
  raise(SIGUSR1);
  EXPECT_EQ(count, 1);
}

TEST(SignalTest, BlockedStandardSignalsMerge) {
  Handler handler(SIGUSR1, Count);
  {
    Blocked blocked({SIGUSR1});
    raise(SIGUSR1);
    raise(SIGUSR1);
    EXPECT_EQ(count, 0);
    sigset_t pending;
    sigpending(&pending);
    EXPECT_TRUE(sigismember(&pending, SIGUSR1));
  }
  EXPECT_EQ(count, 1);
}

TEST(SignalTest, RealTimeSignalsQueueInOrder) {
  std::vector<int> values;
  order = &values;
  Handler handler(SIGRTMIN, [](int, siginfo_t* info, void*) { order->push_back(info->si_value.sival_int); });
  {
    Blocked blocked({SIGRTMIN});
    for (int i = 0; i < 5; ++i) {
      sigval value = {};
      value.sival_int = i;
      ASSERT_EQ(sigqueue(getpid(), SIGRTMIN, value), 0);
    }
  }
  EXPECT_EQ(values, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(SignalTest, QueueLimit) {
  const pid_t pid = fork();
  if (pid == 0) {
    Blocked blocked({SIGRTMIN});
    const rlimit limit = {3, 3};
    setrlimit(RLIMIT_SIGPENDING, &limit);
    int sent = 0;
    while (sent < 10 && sigqueue(getpid(), SIGRTMIN, {}) == 0) ++sent;
    _exit(sent == 3 && errno == EAGAIN ? 0 : 1);
  }
  int status;
  waitpid(pid, &status, 0);
  // Natively the user's other processes count too, so fewer may fit.
  EXPECT_TRUE(WIFEXITED(status));
}

TEST(SignalTest, SiginfoOfKill) {
  Handler handler(SIGUSR1, [](int, siginfo_t* info, void*) { last_info = *info; });
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(last_info.si_signo, SIGUSR1);
  EXPECT_EQ(last_info.si_code, SI_USER);
  EXPECT_EQ(last_info.si_pid, getpid());
  EXPECT_EQ(last_info.si_uid, getuid());
  syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
  EXPECT_EQ(last_info.si_code, SI_TKILL);
}

TEST(SignalTest, SiginfoOfFault) {
  Handler handler(SIGSEGV, [](int, siginfo_t* info, void*) {
    last_info = *info;
    siglongjmp(jump, 1);
  });
  void* page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (sigsetjmp(jump, 1) == 0) *static_cast<volatile char*>(page) = 1;
  EXPECT_EQ(last_info.si_code, SEGV_ACCERR);
  EXPECT_EQ(last_info.si_addr, page);
  munmap(page, 4096);
  if (sigsetjmp(jump, 1) == 0) *static_cast<volatile char*>(page) = 1;
  EXPECT_EQ(last_info.si_code, SEGV_MAPERR);
}

TEST(SignalTest, FaultContextCanBeRepaired) {
  static void* page;
  page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Handler handler(SIGSEGV, [](int, siginfo_t*, void*) {
    ++count;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
  });
  *static_cast<volatile char*>(page) = 7;  // repeated after the handler
  EXPECT_EQ(count, 1);
  EXPECT_EQ(*static_cast<char*>(page), 7);
  munmap(page, 4096);
}

TEST(SignalTest, BlockedFaultKills) {
  const pid_t pid = fork();
  if (pid == 0) {
    Blocked blocked({SIGSEGV});
    *reinterpret_cast<volatile int*>(8) = 1;
    _exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

TEST(SignalTest, IllegalInstructionAndDivision) {
  Handler ill(SIGILL, [](int, siginfo_t* info, void* context) {
    last_info = *info;
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += 2;
  });
  asm volatile("ud2");
  EXPECT_EQ(last_info.si_signo, SIGILL);
  Handler fpe(SIGFPE, [](int, siginfo_t* info, void*) {
    last_info = *info;
    siglongjmp(jump, 1);
  });
  volatile int zero = 0;
  if (sigsetjmp(jump, 1) == 0) zero = 100 / zero;
  EXPECT_EQ(last_info.si_code, FPE_INTDIV);
}

TEST(SignalTest, MaskDuringHandler) {
  static sigset_t seen;
  struct sigaction action = {};
  action.sa_handler = [](int) { sigprocmask(SIG_BLOCK, nullptr, &seen); };
  action.sa_mask = SetOf({SIGUSR2});
  struct sigaction old;
  sigaction(SIGUSR1, &action, &old);
  raise(SIGUSR1);
  EXPECT_TRUE(sigismember(&seen, SIGUSR1));
  EXPECT_TRUE(sigismember(&seen, SIGUSR2));
  action.sa_flags = SA_NODEFER;
  sigaction(SIGUSR1, &action, nullptr);
  raise(SIGUSR1);
  EXPECT_FALSE(sigismember(&seen, SIGUSR1));
  sigaction(SIGUSR1, &old, nullptr);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_FALSE(sigismember(&now, SIGUSR2));
}

TEST(SignalTest, ResetHand) {
  Handler handler(SIGUSR1, Count, static_cast<int>(SA_RESETHAND));
  raise(SIGUSR1);
  struct sigaction now;
  sigaction(SIGUSR1, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

TEST(SignalTest, AlternateStack) {
  static char* low;
  static bool inside;
  std::vector<char> memory(SIGSTKSZ * 4);
  low = memory.data();
  stack_t stack = {}, old_stack;
  stack.ss_sp = low;
  stack.ss_size = memory.size();
  ASSERT_EQ(sigaltstack(&stack, &old_stack), 0);
  Handler handler(
      SIGUSR1,
      [](int) {
        char here;
        stack_t now;
        sigaltstack(nullptr, &now);
        inside = &here > low && &here < low + SIGSTKSZ * 4 && (now.ss_flags & SS_ONSTACK);
        // It cannot be changed while in use.
        stack_t other = now;
        other.ss_flags = 0;
        inside = inside && sigaltstack(&other, nullptr) == -1 && errno == EPERM;
      },
      SA_ONSTACK);
  inside = false;
  raise(SIGUSR1);
  EXPECT_TRUE(inside);
  stack_t small = stack;
  small.ss_size = 1;
  EXPECT_EQ(sigaltstack(&small, nullptr), -1);
  EXPECT_EQ(errno, ENOMEM);
  stack.ss_flags = SS_DISABLE;
  EXPECT_EQ(sigaltstack(&stack, nullptr), 0);
}

TEST(SignalTest, FloatingPointStateSurvives) {
  Handler handler(SIGUSR1, [](int) {
    volatile double x = 3.5;
    x = x * x;
    asm volatile("pxor %%xmm7, %%xmm7" ::: "xmm7");
    ++count;
  });
  double in = 1.25, out = 0;
  const int pid = getpid();
  const long tid = syscall(SYS_gettid);
  long result = SYS_tgkill;
  asm volatile(
      "movsd %[in], %%xmm7\n"
      "syscall\n"
      "movsd %%xmm7, %[out]\n"
      : [out] "=m"(out), "+a"(result)
      : [in] "m"(in), "D"(pid), "S"(tid), "d"(SIGUSR1)
      : "rcx", "r11", "xmm7", "memory");
  EXPECT_EQ(count, 1);
  EXPECT_EQ(out, 1.25);
}

TEST(SignalTest, SigactionRefusesKillAndStop) {
  struct sigaction action = {};
  action.sa_handler = Count;
  for (const int signo : {SIGKILL, SIGSTOP, 0, 65}) {
    EXPECT_EQ(sigaction(signo, &action, nullptr), -1);
    EXPECT_EQ(errno, EINVAL);
  }
}

TEST(SignalTest, BadPointers) {
  EXPECT_EQ(syscall(SYS_rt_sigaction, SIGUSR1, 8, nullptr, 8), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8, nullptr, 8), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, nullptr, 4), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(SignalTest, SuspendRestoresTheMask) {
  Handler handler(SIGUSR1, Count);
  Blocked blocked({SIGUSR1});
  raise(SIGUSR1);
  sigset_t none;
  sigemptyset(&none);
  EXPECT_EQ(sigsuspend(&none), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_EQ(count, 1);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_TRUE(sigismember(&now, SIGUSR1));
}

TEST(SignalTest, TimedWait) {
  Blocked blocked({SIGUSR1, SIGRTMIN});
  const sigset_t set = SetOf({SIGUSR1, SIGRTMIN});
  const timespec soon = {0, 10'000'000};
  EXPECT_EQ(sigtimedwait(&set, nullptr, &soon), -1);
  EXPECT_EQ(errno, EAGAIN);
  sigval value = {};
  value.sival_int = 99;
  sigqueue(getpid(), SIGRTMIN, value);
  siginfo_t info;
  EXPECT_EQ(sigtimedwait(&set, &info, &soon), SIGRTMIN);
  EXPECT_EQ(info.si_value.sival_int, 99);
  EXPECT_EQ(info.si_code, SI_QUEUE);
}

TEST(SignalTest, ReadIsInterruptedOrRestarted) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  {
    Handler handler(SIGALRM, Count);
    guest::WhenAsleepIn later(SYS_read, [] { kill(getpid(), SIGALRM); });
    char c;
    EXPECT_EQ(read(fds[0], &c, 1), -1);
    EXPECT_EQ(errno, EINTR);
  }
  {
    static int write_end;
    write_end = fds[1];
    Handler handler(
        SIGALRM, [](int) { (void)!write(write_end, "x", 1); }, SA_RESTART);
    guest::WhenAsleepIn later(SYS_read, [] { kill(getpid(), SIGALRM); });
    char c = 0;
    EXPECT_EQ(read(fds[0], &c, 1), 1);
    EXPECT_EQ(c, 'x');
  }
  close(fds[0]);
  close(fds[1]);
}

TEST(SignalTest, ProcessSignalGoesToAThreadThatWantsIt) {
  Handler handler(SIGUSR1, Count);
  Blocked blocked({SIGUSR1});
  pthread_t thread;
  static std::atomic<bool> ready;
  ready = false;
  pthread_create(
      &thread, nullptr,
      [](void*) -> void* {
        const sigset_t set = SetOf({SIGUSR1});
        pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
        ready = true;
        while (count == 0) sched_yield();
        return nullptr;
      },
      nullptr);
  while (!ready) sched_yield();
  kill(getpid(), SIGUSR1);
  pthread_join(thread, nullptr);
  EXPECT_EQ(count, 1);
}

TEST(SignalTest, BusyLoopIsInterrupted) {
  Handler handler(SIGALRM, Count);
  const itimerval soon = {{}, {0, 20'000}};
  setitimer(ITIMER_REAL, &soon, nullptr);
  while (count == 0) {
  }
  EXPECT_EQ(count, 1);
}

TEST(SignalTest, SigpipeOnClosedPipe) {
  Handler handler(SIGPIPE, Count);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  close(fds[0]);
  EXPECT_EQ(write(fds[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  EXPECT_EQ(count, 1);
  close(fds[1]);
}

TEST(SignalTest, CorruptFrameKills) {
  const pid_t pid = fork();
  if (pid == 0) {
    const rlimit none = {};
    setrlimit(RLIMIT_CORE, &none);
    asm volatile("mov $8, %%rsp\n mov $15, %%eax\n syscall\n" ::: "memory");
    _exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

}  // namespace
