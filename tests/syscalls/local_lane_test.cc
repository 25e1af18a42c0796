// Calls that a kernel may answer without entering it, from call sites worth answering that way: signal masks against
// signals sent at the same moment, handlers and their return, and clocks.
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/hot_calls.h"
#include "tests/util/sleeping.h"

namespace {

using guest::Action;
using guest::CountOne;
using guest::handled;

constexpr size_t kSetSize = 8;

long SetMask(int how, const void* set, void* old, size_t size = kSetSize) {
  return syscall(SYS_rt_sigprocmask, how, set, old, size);
}
uint64_t Mask() {
  uint64_t mask = 0;
  SetMask(SIG_BLOCK, nullptr, &mask);
  return mask;
}
constexpr uint64_t Bit(int signo) { return uint64_t{1} << (signo - 1); }

// --- Actions.

// struct sigaction as the call passes it.
struct KernelAction {
  uint64_t handler = 0, flags = 0, restorer = 0, mask = 0;
  bool operator==(const KernelAction&) const = default;
};
long SetAction(int signo, const KernelAction* action, KernelAction* old, size_t size = kSetSize) {
  return syscall(SYS_rt_sigaction, signo, action, old, size);
}
KernelAction ActionOf(int signo) {
  KernelAction action = {1, 2, 3, 4};
  EXPECT_EQ(SetAction(signo, nullptr, &action), 0);
  return action;
}

TEST(LocalActionTest, AreAsTheyWereSet) {
  const KernelAction none, ignore{.handler = 1}, masked{.mask = Bit(SIGUSR1)};
  EXPECT_EQ(ActionOf(SIGKILL), none);
  EXPECT_EQ(ActionOf(64), none);
  for (const KernelAction& set : {ignore, none, masked}) {
    ASSERT_OK(SetAction(SIGXCPU, &set, nullptr));
    EXPECT_EQ(ActionOf(SIGXCPU), set);
    EXPECT_EQ(ActionOf(SIGXFSZ), none);
  }
  std::thread([&] { ASSERT_OK(SetAction(SIGXFSZ, &ignore, nullptr)); }).join();
  EXPECT_EQ(ActionOf(SIGXFSZ), ignore);
  std::thread([&] { EXPECT_EQ(ActionOf(SIGXFSZ), ignore); }).join();
  ASSERT_OK(SetAction(SIGXFSZ, &none, nullptr));
  ASSERT_OK(SetAction(SIGXCPU, &none, nullptr));
}

TEST(LocalActionTest, Arguments) {
  EXPECT_OK(SetAction(SIGXCPU, nullptr, nullptr));
  EXPECT_ERRNO(EINVAL, SetAction(0, nullptr, nullptr));
  EXPECT_ERRNO(EINVAL, SetAction(65, nullptr, nullptr));
  EXPECT_ERRNO(EINVAL, SetAction(SIGXCPU, nullptr, nullptr, 4));
  EXPECT_ERRNO(EFAULT, SetAction(SIGXCPU, nullptr, reinterpret_cast<KernelAction*>(8)));
}

// What posix_spawn's child does, and what is to be seen of it.
TEST(LocalActionTest, DefaultsMaySetARestorer) {
  constexpr uint64_t kRestorerFlag = 0x04000000;
  const KernelAction none, first{.flags = kRestorerFlag, .restorer = 0x1234},
      second{.flags = kRestorerFlag, .restorer = 0x5678};
  const pid_t child = fork();
  if (child == 0) {
    KernelAction old;
    const auto check = [&](bool ok, int code) {
      if (!ok) _exit(code);
    };
    check(SetAction(SIGXCPU, &first, &old) == 0 && old == none, 1);
    check(SetAction(SIGXFSZ, &first, &old) == 0 && old == none, 2);
    check(ActionOf(SIGXCPU) == first && ActionOf(SIGXFSZ) == first && ActionOf(SIGUSR2) == none, 3);
    check(SetAction(SIGUSR2, &second, &old) == 0 && old == none, 4);
    check(ActionOf(SIGXCPU) == first && ActionOf(SIGUSR2) == second, 5);
    check(SetAction(SIGKILL, &first, nullptr) == -1 && errno == EINVAL, 6);
    check(SetAction(SIGXCPU, &none, &old) == 0 && old == first && ActionOf(SIGXCPU) == none, 7);
    std::thread([&] { check(ActionOf(SIGXFSZ) == first && ActionOf(SIGUSR2) == second, 8); }).join();
    const pid_t grandchild = fork();
    if (grandchild == 0) _exit(ActionOf(SIGXFSZ) == first ? 0 : 1);
    int status = -1;
    check(waitpid(grandchild, &status, 0) == grandchild && status == 0, 9);
    // Pending, and its default is to be ignored.
    const uint64_t winch = Bit(SIGWINCH);
    uint64_t pending = 0;
    SetMask(SIG_BLOCK, &winch, nullptr);
    kill(getpid(), SIGWINCH);
    check(SetAction(SIGWINCH, &second, nullptr) == 0, 10);
    check(syscall(SYS_rt_sigpending, &pending, kSetSize) == 0 && (pending & winch) == 0, 11);
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// Processes that share actions but are no threads of one another.
TEST(LocalActionTest, AreSharedWithCloneSighand) {
  const KernelAction none, ignore{.handler = 1};
  EXPECT_EQ(ActionOf(SIGXCPU), none);
  static char stack[65536];
  const auto change = [](void* action) {
    return SetAction(SIGXCPU, static_cast<const KernelAction*>(action), nullptr) == 0 ? 0 : 1;
  };
  for (const KernelAction& set : {ignore, none}) {
    const int child =
        clone(change, stack + sizeof(stack), CLONE_VM | CLONE_SIGHAND | SIGCHLD, const_cast<KernelAction*>(&set));
    ASSERT_GT(child, 0);
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(ActionOf(SIGXCPU), set);
  }
}

// --- The mask.

TEST(LocalMaskTest, ChangesAndArguments) {
  const uint64_t before = Mask(), usr1 = Bit(SIGUSR1), all = ~uint64_t{0};
  uint64_t old = 0;
  ASSERT_OK(SetMask(SIG_BLOCK, &usr1, &old));
  EXPECT_EQ(old, before);
  EXPECT_EQ(Mask(), before | usr1);
  ASSERT_OK(SetMask(SIG_SETMASK, &all, nullptr));
  EXPECT_EQ(Mask(), all & ~Bit(SIGKILL) & ~Bit(SIGSTOP));
  ASSERT_OK(SetMask(SIG_UNBLOCK, &all, nullptr));
  EXPECT_EQ(Mask(), 0u);
  ASSERT_OK(SetMask(SIG_SETMASK, &before, nullptr));
  EXPECT_ERRNO(EINVAL, SetMask(77, &usr1, nullptr));
  EXPECT_OK(SetMask(77, nullptr, nullptr));
  EXPECT_ERRNO(EINVAL, SetMask(SIG_BLOCK, &usr1, nullptr, 4));
  EXPECT_ERRNO(EFAULT, SetMask(SIG_BLOCK, guest::BadPointer(), nullptr));
  EXPECT_EQ(Mask(), before);
  // The change is made before the old mask is told.
  EXPECT_ERRNO(EFAULT, SetMask(SIG_BLOCK, &usr1, guest::BadPointer()));
  EXPECT_EQ(Mask(), before | usr1);
  ASSERT_OK(SetMask(SIG_SETMASK, &before, nullptr));
}

TEST(LocalMaskTest, ShowsInProc) {
  const uint64_t before = Mask(), set = Bit(SIGUSR1) | Bit(SIGRTMIN + 3);
  ASSERT_OK(SetMask(SIG_SETMASK, &set, nullptr));
  const std::string status = guest::ReadFileText("/proc/self/status");
  ASSERT_OK(SetMask(SIG_SETMASK, &before, nullptr));
  char line[64];
  std::snprintf(line, sizeof(line), "SigBlk:\t%016lx\n", set);
  EXPECT_NE(status.find(line), std::string::npos) << status;
}

TEST(LocalMaskTest, UnblockingDelivers) {
  const Action action(SIGUSR1, CountOne);
  const uint64_t usr1 = Bit(SIGUSR1);
  for (int i = 0; i < 200; ++i) {
    handled = 0;
    ASSERT_OK(SetMask(SIG_BLOCK, &usr1, nullptr));
    raise(SIGUSR1);
    ASSERT_EQ(handled, 0);
    ASSERT_OK(SetMask(SIG_UNBLOCK, &usr1, nullptr));
    ASSERT_EQ(handled, 1);
  }
}

thread_local volatile sig_atomic_t closed;
std::atomic<int> early;
void CountUnlessClosed(int, siginfo_t*, void*) {
  if (closed) ++early;
  ++handled;
}

// One thread changes its mask all the time, another sends queued signals: each arrives once, and none while blocked.
void RaceMaskAgainst(const std::function<void(pid_t changer)>& send) {
  constexpr int kSignals = 4000;
  const int signo = SIGRTMIN + 1;
  const Action action(signo, CountUnlessClosed, SA_RESTART);
  handled = early = 0;
  std::atomic<pid_t> changer{0};
  const uint64_t bit = Bit(signo);
  const uint64_t before = Mask();
  ASSERT_OK(SetMask(SIG_BLOCK, &bit, nullptr));  // the sender does not take them
  std::thread thread([&] {
    closed = 1;
    changer = static_cast<pid_t>(syscall(SYS_gettid));
    while (handled < kSignals) {
      closed = 0;
      SetMask(SIG_UNBLOCK, &bit, nullptr);
      SetMask(SIG_BLOCK, &bit, nullptr);
      closed = 1;
    }
  });
  while (changer == 0) sched_yield();
  for (int i = 0; i < kSignals; ++i) {
    send(changer);
    while (handled < i - 500) sched_yield();
  }
  thread.join();
  EXPECT_EQ(handled, kSignals);
  EXPECT_EQ(early, 0);
  SetMask(SIG_SETMASK, &before, nullptr);
}

void SendTo(long call, pid_t tid) {
  siginfo_t info = {};
  info.si_signo = SIGRTMIN + 1;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  const long sent = call == SYS_rt_tgsigqueueinfo ? syscall(call, getpid(), tid, SIGRTMIN + 1, &info)
                                                  : syscall(call, getpid(), SIGRTMIN + 1, &info);
  EXPECT_OK(sent);
}

TEST(LocalMaskTest, RacesWithThreadSignals) {
  RaceMaskAgainst([](pid_t tid) { SendTo(SYS_rt_tgsigqueueinfo, tid); });
}
TEST(LocalMaskTest, RacesWithProcessSignals) {
  RaceMaskAgainst([](pid_t tid) { SendTo(SYS_rt_sigqueueinfo, tid); });
}

// --- Handlers and their return.

void ChangeReturnMask(int, siginfo_t*, void* context) {
  auto* uc = static_cast<ucontext_t*>(context);
  sigaddset(&uc->uc_sigmask, SIGUSR2);
  ++handled;
}

TEST(LocalReturnTest, MaskComesFromTheFrame) {
  const Action action(SIGUSR1, ChangeReturnMask);
  const uint64_t before = Mask();
  handled = 0;
  raise(SIGUSR1);
  EXPECT_EQ(handled, 1);
  EXPECT_EQ(Mask(), before | Bit(SIGUSR2));
  SetMask(SIG_SETMASK, &before, nullptr);
}

void UnblockPending(int, siginfo_t*, void* context) {
  // Blocked until the return, which lets it in.
  raise(SIGUSR2);
  EXPECT_EQ(handled, 0);
  sigdelset(&static_cast<ucontext_t*>(context)->uc_sigmask, SIGUSR2);
}

TEST(LocalReturnTest, ReturnDeliversWhatItUnblocks) {
  const Action first(SIGUSR1, UnblockPending), second(SIGUSR2, CountOne);
  const uint64_t before = Mask(), usr2 = Bit(SIGUSR2);
  handled = 0;
  ASSERT_OK(SetMask(SIG_BLOCK, &usr2, nullptr));
  raise(SIGUSR1);
  EXPECT_EQ(handled, 1);
  EXPECT_EQ(Mask(), before);
}

std::vector<int> depths;
void Nest(int signo, siginfo_t*, void*) {
  depths.push_back(signo);
  if (signo < SIGRTMIN + 12) raise(signo + 1);
  depths.push_back(-signo);
}

TEST(LocalReturnTest, NestedHandlersReturnInOrder) {
  std::vector<std::unique_ptr<Action>> actions;
  for (int signo = SIGRTMIN + 5; signo <= SIGRTMIN + 12; ++signo)
    actions.push_back(std::make_unique<Action>(signo, Nest));
  for (int round = 0; round < 50; ++round) {
    depths.clear();
    raise(SIGRTMIN + 5);
    ASSERT_EQ(depths.size(), 16u);
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(depths[i], SIGRTMIN + 5 + i);
      EXPECT_EQ(depths[15 - i], -(SIGRTMIN + 5 + i));
    }
  }
}

// Two that become deliverable at once: the frames are stacked before any handler runs.
void Note(int signo, siginfo_t*, void*) { depths.push_back(signo); }

TEST(LocalReturnTest, SeveralAtOnce) {
  const Action a(SIGUSR1, Note), b(SIGUSR2, Note), c(SIGRTMIN, Note);
  const uint64_t all = Bit(SIGUSR1) | Bit(SIGUSR2) | Bit(SIGRTMIN);
  for (int i = 0; i < 100; ++i) {
    depths.clear();
    ASSERT_OK(SetMask(SIG_BLOCK, &all, nullptr));
    raise(SIGUSR1);
    raise(SIGUSR2);
    raise(SIGRTMIN);
    ASSERT_OK(SetMask(SIG_UNBLOCK, &all, nullptr));
    ASSERT_EQ(depths.size(), 3u);
    // Delivered lowest first, so the highest runs first.
    EXPECT_EQ(depths, (std::vector<int>{SIGRTMIN, SIGUSR2, SIGUSR1}));
  }
}

// Vector registers: the interrupted program's come back, the handler starts with none, and what it writes into the
// frame is what the program goes on with.
void SpoilVectors(int, siginfo_t* info, void* context) {
  uint64_t low;
  asm volatile("movq %%xmm5, %0" : "=r"(low));
  EXPECT_EQ(low, 0u);
  uint32_t control;
  asm volatile("stmxcsr %0" : "=m"(control));
  EXPECT_EQ(control, 0x1f80u);
  asm volatile("pcmpeqd %%xmm5, %%xmm5\n pcmpeqd %%xmm6, %%xmm6" : : : "xmm5", "xmm6");
  auto* fp = static_cast<ucontext_t*>(context)->uc_mcontext.fpregs;
  ASSERT_NE(fp, nullptr);
  EXPECT_EQ(fp->_xmm[5].element[0], 0x11111111u);
  fp->_xmm[6].element[0] = 0x33333333;
  ++handled;
}

TEST(LocalReturnTest, VectorRegisters) {
  const Action action(SIGUSR1, SpoilVectors);
  const long pid = getpid(), tid = syscall(SYS_gettid);
  for (int i = 0; i < 100; ++i) {
    handled = 0;
    uint64_t five = 0x11111111, six = 0x22222222;
    uint32_t control = 0x1fa0;  // precision exceptions were seen
    long result = SYS_tgkill;
    asm volatile(
        "ldmxcsr %[control]\n"
        "movq %[five], %%xmm5\n"
        "movq %[six], %%xmm6\n"
        "syscall\n"
        "movq %%xmm5, %[five]\n"
        "movq %%xmm6, %[six]\n"
        "stmxcsr %[control]\n"
        : "+a"(result), [five] "+r"(five), [six] "+r"(six), [control] "+m"(control)
        : "D"(pid), "S"(tid), "d"(SIGUSR1)
        : "rcx", "r11", "memory", "xmm5", "xmm6");
    EXPECT_EQ(result, 0);
    EXPECT_EQ(handled, 1);
    EXPECT_EQ(five, 0x11111111u);
    EXPECT_EQ(six & 0xffffffff, 0x33333333u);
    EXPECT_EQ(control, 0x1fa0u);
    const uint32_t normal = 0x1f80;
    asm volatile("ldmxcsr %0" : : "m"(normal));
  }
}

void* stack_seen;
void NoteStack(int, siginfo_t*, void*) {
  int here;
  stack_seen = &here;
  ++handled;
}

TEST(LocalReturnTest, AlternateStacks) {
  std::vector<char> memory(64 * 1024);
  const Action action(SIGUSR1, NoteStack, SA_ONSTACK);
  constexpr int kAutodisarm = static_cast<int>(1u << 31);
  for (const int flags : {0, kAutodisarm}) {
    stack_t stack = {.ss_sp = memory.data(), .ss_flags = flags, .ss_size = memory.size()}, old, after;
    ASSERT_OK(sigaltstack(&stack, &old));
    for (int i = 0; i < 20; ++i) {
      handled = 0;
      stack_seen = nullptr;
      raise(SIGUSR1);
      EXPECT_EQ(handled, 1);
      EXPECT_GE(stack_seen, memory.data());
      EXPECT_LT(stack_seen, memory.data() + memory.size());
      ASSERT_OK(sigaltstack(nullptr, &after));
      EXPECT_EQ(after.ss_sp, memory.data());
      EXPECT_EQ(after.ss_flags, flags);
    }
    ASSERT_OK(sigaltstack(&old, nullptr));
  }
}

void ForkInside(int, siginfo_t*, void*) {
  const pid_t child = fork();
  if (child == 0) {
    // Returns from the handler in the child as well.
    ++handled;
    return;
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(LocalReturnTest, ForkInAHandler) {
  const Action action(SIGUSR1, ForkInside);
  for (int i = 0; i < 10; ++i) {
    const pid_t parent = getpid();
    handled = 0;
    raise(SIGUSR1);
    if (getpid() != parent) _exit(handled == 1 && Mask() == 0 ? 0 : 1);
  }
}

std::jmp_buf fault_jump;
std::atomic<int> faults;
void EndFault(int, siginfo_t*, void*) {
  ++faults;
  std::longjmp(fault_jump, 1);
}

// A stack that cannot take the frame is a fault, which a handler with a stack of its own sees, and which kills
// otherwise.
TEST(LocalReturnTest, StackThatCannotTakeTheFrame) {
  const auto raise_without_stack = [] {
    const long pid = getpid(), tid = syscall(SYS_gettid);
    long result = SYS_tgkill;
    asm volatile(
        "mov %%rsp, %%r12\n"
        "mov $0x1000, %%rsp\n"
        "syscall\n"
        "mov %%r12, %%rsp\n"
        : "+a"(result)
        : "D"(pid), "S"(tid), "d"(SIGUSR1)
        : "rcx", "r11", "r12", "memory");
  };
  EXPECT_EQ(guest::RunInChild([&] {
              const Action action(SIGUSR1, CountOne);
              raise_without_stack();
              return 0;
            }),
            128 + SIGSEGV);
  EXPECT_EQ(guest::RunInChild([&] {
              std::vector<char> memory(64 * 1024);
              stack_t stack = {.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
              sigaltstack(&stack, nullptr);
              const Action action(SIGUSR1, CountOne), fault(SIGSEGV, EndFault, SA_ONSTACK | SA_NODEFER);
              if (setjmp(fault_jump) == 0) raise_without_stack();
              return faults == 1 && handled == 0 ? 0 : 1;
            }),
            0);
}

// --- Clocks and processors.

TEST(LocalClockTest, AgreesWithTheLibrary) {
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE,
                                CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_PROCESS_CPUTIME_ID}) {
    timespec a, b;
    for (int i = 0; i < 1000; ++i) {
      ASSERT_OK(syscall(SYS_clock_gettime, clock, &a));
      ASSERT_OK(syscall(SYS_clock_gettime, clock, &b));
      ASSERT_TRUE(a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec <= b.tv_nsec)) << clock;
      ASSERT_LT(b.tv_nsec, 1'000'000'000);
    }
    clock_gettime(clock, &a);
    EXPECT_LE(a.tv_sec - b.tv_sec, 1) << clock;
  }
  timeval tv;
  ASSERT_OK(syscall(SYS_gettimeofday, &tv, nullptr));
  time_t seconds = 0;
  const long now = syscall(SYS_time, &seconds);
  EXPECT_EQ(now, seconds);
  EXPECT_LE(now - tv.tv_sec, 1);
  EXPECT_OK(syscall(SYS_gettimeofday, nullptr, nullptr));
  EXPECT_EQ(syscall(SYS_time, nullptr) - now, 0 + (syscall(SYS_time, nullptr) != now));
}

TEST(LocalClockTest, BadPointers) {
  EXPECT_ERRNO(EFAULT, syscall(SYS_clock_gettime, CLOCK_MONOTONIC, guest::BadPointer()));
  EXPECT_ERRNO(EFAULT, syscall(SYS_gettimeofday, guest::BadPointer(), nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_time, guest::BadPointer()));
  EXPECT_ERRNO(EFAULT, syscall(SYS_getcpu, guest::BadPointer(), nullptr, nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_clock_gettime, CLOCK_MONOTONIC, uint64_t{0x7fff'0000'8000}));
  EXPECT_ERRNO(EINVAL, syscall(SYS_clock_gettime, 77, guest::BadPointer()));
  const guest::EdgeBuffer edge(8);
  EXPECT_ERRNO(EFAULT, syscall(SYS_clock_gettime, CLOCK_MONOTONIC, edge.front()));
}

TEST(LocalClockTest, ProcessorIsAnAllowedOne) {
  cpu_set_t allowed, one;
  ASSERT_OK(sched_getaffinity(0, sizeof(allowed), &allowed));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ASSERT_OK(sched_setaffinity(0, sizeof(one), &one));
    unsigned seen = ~0u;
    ASSERT_OK(syscall(SYS_getcpu, &seen, nullptr, nullptr));
    EXPECT_EQ(seen, static_cast<unsigned>(cpu));
  }
  ASSERT_OK(sched_setaffinity(0, sizeof(allowed), &allowed));
}

}  // namespace
