// Programs that would notice if their system call instructions were not what they look like: hot call sites under
// signals, forks, new threads, jumps into odd places, and programs that look at their own text or change it.
//
// Nothing here knows whether a site is rewritten; WarmUp only makes it worth somebody's while.
#include <asm/prctl.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/raw_calls.h"
#include "tests/util/sleeping.h"

namespace {

using guest::kWarm;
using guest::WarmUp;

constexpr size_t kPage = 4096;
constexpr long kFailed = long{1} << 62;  // RawTail's mark for an error

struct Mapping {
  unsigned long start = 0, end = 0, offset = 0;
};

std::vector<Mapping> ExecutableMappings() {
  std::vector<Mapping> found;
  FILE* const maps = fopen("/proc/self/maps", "r");
  char line[512], prot[8];
  Mapping next;
  while (maps != nullptr && fgets(line, sizeof(line), maps) != nullptr) {
    if (sscanf(line, "%lx-%lx %7s %lx", &next.start, &next.end, prot, &next.offset) == 4 && prot[2] == 'x') {
      found.push_back(next);
    }
  }
  if (maps != nullptr) fclose(maps);
  return found;
}

Mapping OwnText() {
  const auto address = reinterpret_cast<unsigned long>(&RawLoad);
  for (const Mapping& mapping : ExecutableMappings()) {
    if (address >= mapping.start && address < mapping.end) return mapping;
  }
  ADD_FAILURE() << "own text is not in /proc/self/maps";
  return {};
}

std::string FileBytes(unsigned long offset, size_t size) {
  const int fd = open("/proc/self/exe", O_RDONLY);
  std::string bytes(size, '\0');
  const ssize_t got = pread(fd, bytes.data(), size, static_cast<off_t>(offset));
  EXPECT_GE(got, 0);
  bytes.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  close(fd);
  return bytes;
}

TEST(RewriteTest, CallsReturnWhatTheyReturnColdAndHot) {
  for (int i = 0; i < kWarm; ++i) {
    ASSERT_EQ(getppid(), RawLoad());
    ASSERT_EQ(getppid(), RawTail(SYS_getppid));
    ASSERT_EQ(getppid(), RawRet(SYS_getppid));
    ASSERT_EQ(kFailed + EBADF, RawTail(SYS_close, -1));
    ASSERT_EQ(-EBADF, RawRet(SYS_close, -1));
    ASSERT_EQ(-ENOSYS, RawRet(100000));
  }
}

TEST(RewriteTest, JumpsToTheInstructionsOfASite) {
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(getpid(), RawLoadJump(SYS_getpid));
      ASSERT_EQ(kFailed + 5, RawTailJump());
      ASSERT_EQ(-5, RawRetJump());
    }
    WarmUp();
  }
}

TEST(RewriteTest, NothingButTwoRegistersChanges) {
  for (int i = 0; i < kWarm; ++i) ASSERT_EQ(0, RawRegisters()) << i;
}

TEST(RewriteTest, ThreadsCallWhileOthersStart) {
  std::atomic<bool> stop{false};
  std::atomic<long> wrong{0};
  const pid_t parent = getppid();
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      while (!stop) {
        if (RawLoad() != parent || RawTail(SYS_getppid) != parent || RawRet(SYS_getppid) != parent) ++wrong;
        if (RawRegisters() != 0) ++wrong;
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    std::thread([&] {
      for (int k = 0; k < 20; ++k) {
        if (RawTail(SYS_gettid) != syscall(SYS_gettid)) ++wrong;
      }
    }).join();
  }
  stop = true;
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(0, wrong.load());
}

// --- Signals. --------------------------------------------------------------------------------------------------------

std::vector<Mapping> executable;
volatile sig_atomic_t alarms, strange;

void CheckPlace(int, siginfo_t*, void* context) {
  const auto rip = static_cast<unsigned long>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  bool known = false;
  for (const Mapping& mapping : executable) known |= rip >= mapping.start && rip < mapping.end;
  if (!known) strange = strange + 1;
  alarms = alarms + 1;
}

class Storm {
 public:
  explicit Storm(void (*handler)(int, siginfo_t*, void*), int flags = SA_RESTART) {
    executable = ExecutableMappings();
    alarms = 0;
    strange = 0;
    struct sigaction action = {};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    EXPECT_EQ(0, sigaction(SIGALRM, &action, nullptr));
    const itimerval often = {{0, 300}, {0, 300}};
    EXPECT_EQ(0, setitimer(ITIMER_REAL, &often, nullptr));
  }
  ~Storm() {
    const itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
    signal(SIGALRM, SIG_IGN);
  }
};

TEST(RewriteTest, SignalsInHotLoopsSeeTheProgram) {
  const pid_t parent = getppid();
  long wrong = 0;
  {
    const Storm storm(CheckPlace);
    while (alarms < 500) {
      wrong += RawLoad() != parent;
      wrong += RawTail(SYS_getppid) != parent;
      wrong += RawRet(SYS_getppid) != parent;
      wrong += RawRegisters();
      wrong += getppid() != parent;
    }
  }
  EXPECT_EQ(0, wrong);
  EXPECT_EQ(0, strange) << "an address that is in no executable mapping";
}

sigjmp_buf storm_jump;
volatile sig_atomic_t storm_jump_set;
void JumpOut(int, siginfo_t*, void*) {
  // A jump in the middle of the first sigsetjmp, which saves the mask last, would leave the signal blocked.
  if (!storm_jump_set) return;
  alarms = alarms + 1;
  siglongjmp(storm_jump, 1);
}

TEST(RewriteTest, HandlersMayJumpOutOfACall) {
  WarmUp();
  storm_jump_set = 0;
  const pid_t parent = getppid();
  volatile long wrong = 0;
  {
    const Storm storm(JumpOut);
    while (alarms < 300) {
      if (sigsetjmp(storm_jump, 1) != 0) continue;
      storm_jump_set = 1;
      for (;;) {
        if (RawTail(SYS_getppid) != parent || RawLoad() != parent) wrong = wrong + 1;
      }
    }
  }
  EXPECT_EQ(0, wrong);
}

void CountAlarm(int, siginfo_t*, void*) { alarms = alarms + 1; }

TEST(RewriteTest, InterruptedCallsRestartAtTheSite) {
  WarmUp();
  for (const bool tail : {false, true}) {
    int ends[2];
    ASSERT_EQ(0, pipe(ends));
    char byte = 0;
    const Storm storm(CountAlarm);
    std::thread writer([&] {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      while (alarms < 50) sched_yield();
      EXPECT_EQ(1, write(ends[1], "x", 1));
    });
    EXPECT_EQ(1, tail ? RawTail(SYS_read, ends[0], &byte, 1) : RawRet(SYS_read, ends[0], &byte, 1));
    EXPECT_EQ('x', byte);
    writer.join();
    close(ends[0]);
    close(ends[1]);
  }
}

TEST(RewriteTest, CallsAreInterruptedWithoutRestart) {
  WarmUp();
  int ends[2];
  ASSERT_EQ(0, pipe(ends));
  char byte;
  const Storm storm(CountAlarm, 0);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(kFailed + EINTR, RawTail(SYS_read, ends[0], &byte, 1));
    EXPECT_EQ(-EINTR, RawRet(SYS_read, ends[0], &byte, 1));
  }
  close(ends[0]);
  close(ends[1]);
}

// --- Processes. ------------------------------------------------------------------------------------------------------

TEST(RewriteTest, ForkInAHotLoop) {
  WarmUp();
  for (int i = 0; i < 60; ++i) {
    for (int k = 0; k < 50; ++k) RawTail(SYS_getppid);
    const long child = RawTail(SYS_fork);
    ASSERT_GE(child, 0);
    if (child == 0)
      _exit(RawRegisters() == 0 && RawTail(SYS_getpid) == getpid() && RawRet(SYS_close, -1) == -EBADF ? 7 : 1);
    int status = 0;
    ASSERT_EQ(child, waitpid(static_cast<pid_t>(child), &status, 0));
    ASSERT_EQ(7, WEXITSTATUS(status)) << status;
  }
}

TEST(RewriteTest, VforkAndExecInAHotLoop) {
  for (int i = 0; i < 15; ++i) {
    for (int k = 0; k < 100; ++k) RawRet(SYS_getppid);
    const pid_t child = vfork();
    if (child == 0) {
      for (int k = 0; k < 20; ++k) RawTail(SYS_getppid);
      execl("/proc/self/exe", "rewrite_test", "--gtest_filter=RewriteTest.NothingButTwoRegistersChanges",
            "--gtest_brief=1", nullptr);
      _exit(99);
    }
    int status = 0;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    ASSERT_EQ(0, status);
  }
}

// --- Programs that look at themselves. -------------------------------------------------------------------------------

TEST(RewriteTest, OwnTextReadsAsInTheFile) {
  WarmUp();
  const Mapping text = OwnText();
  const size_t size = text.end - text.start;
  std::string want = FileBytes(text.offset, size);
  std::string got(want.size(), '\0');
  const int mem = open("/proc/self/mem", O_RDONLY);
  ASSERT_GE(mem, 0);
  size_t done = 0;
  while (done < got.size()) {
    const ssize_t step = pread(mem, &got[done], got.size() - done, static_cast<off_t>(text.start + done));
    ASSERT_GT(step, 0);
    done += static_cast<size_t>(step);
  }
  EXPECT_TRUE(got == want);
  close(mem);
  const iovec local = {got.data(), got.size()}, remote = {reinterpret_cast<void*>(text.start), got.size()};
  std::fill(got.begin(), got.end(), '\0');
  ASSERT_EQ(static_cast<ssize_t>(got.size()), process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
  EXPECT_TRUE(got == want);
  // And what is written from it to a file.
  int ends[2];
  ASSERT_EQ(0, pipe(ends));
  const auto site = reinterpret_cast<unsigned long>(&RawLoad);
  ASSERT_EQ(64, write(ends[1], reinterpret_cast<void*>(site), 64));
  char bytes[64];
  ASSERT_EQ(64, read(ends[0], bytes, 64));
  EXPECT_EQ(0, memcmp(bytes, &want[site - text.start], 64));
  close(ends[0]);
  close(ends[1]);
}

TEST(RewriteTest, WritableTextIsTheFilesAndMayChange) {
  WarmUp();
  const Mapping text = OwnText();
  const auto site = reinterpret_cast<unsigned long>(&RawLoad);
  auto* const page = reinterpret_cast<char*>(site & ~(kPage - 1));
  ASSERT_EQ(0, mprotect(page, 2 * kPage, PROT_READ | PROT_WRITE | PROT_EXEC));
  const std::string want = FileBytes(text.offset + (reinterpret_cast<unsigned long>(page) - text.start), 2 * kPage);
  EXPECT_EQ(0, memcmp(page, want.data(), want.size()));
  // Another call number in the instruction before the syscall.
  auto* const number = reinterpret_cast<volatile unsigned char*>(site + 1);
  ASSERT_EQ(110, *number);
  for (int i = 0; i < 50; ++i) {
    *number = SYS_getpid;
    ASSERT_EQ(getpid(), RawLoad());
    *number = SYS_getppid;
    ASSERT_EQ(getppid(), RawLoad());
  }
  WarmUp();
  *number = SYS_getpid;
  EXPECT_EQ(getpid(), RawLoad());
  *number = SYS_getppid;
  ASSERT_EQ(0, mprotect(page, 2 * kPage, PROT_READ | PROT_EXEC));
  WarmUp();
  EXPECT_EQ(getppid(), RawLoad());
}

TEST(RewriteTest, TextWithoutPermissionFaultsAndComesBack) {
  WarmUp();
  const pid_t child = fork();
  if (child == 0) {
    // Not this function's page, hopefully: the raw calls are apart.
    auto* const page = reinterpret_cast<char*>(reinterpret_cast<unsigned long>(&RawLoad) & ~(kPage - 1));
    for (int i = 0; i < 20; ++i) {
      syscall(SYS_mprotect, page, kPage, PROT_READ);
      syscall(SYS_mprotect, page, kPage, PROT_READ | PROT_EXEC);
      if (RawLoad() != getppid()) _exit(1);
    }
    _exit(7);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  // Natively the page may hold the code that runs here; then it faults, which is as good.
  EXPECT_TRUE((WIFEXITED(status) && WEXITSTATUS(status) == 7) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV));
}

// What dlopen and dlclose do, without a library: the whole file, then its text over it.
TEST(RewriteTest, ImagesComeAndGo) {
  const Mapping text = OwnText();
  const int fd = open("/proc/self/exe", O_RDONLY);
  ASSERT_GE(fd, 0);
  const size_t before = text.offset, size = text.end - text.start;
  for (int i = 0; i < 100; ++i) {
    auto* const image = static_cast<char*>(mmap(nullptr, before + size, PROT_READ, MAP_PRIVATE, fd, 0));
    ASSERT_NE(MAP_FAILED, image);
    ASSERT_EQ(image + before, mmap(image + before, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd,
                                   static_cast<off_t>(before)));
    const auto load = reinterpret_cast<unsigned long>(&RawLoad),
               registers = reinterpret_cast<unsigned long>(&RawRegisters);
    const auto other_load = reinterpret_cast<long (*)()>(image + before + (load - text.start));
    const auto other_registers = reinterpret_cast<int (*)()>(image + before + (registers - text.start));
    for (int k = 0; k < 50; ++k) {
      ASSERT_EQ(getppid(), other_load());
      ASSERT_EQ(0, other_registers());
    }
    if (i % 3 == 1) {
      ASSERT_EQ(0, munmap(image + before, kPage));
    } else if (i % 3 == 2) {
      ASSERT_EQ(0, mprotect(image + before, size, PROT_READ | PROT_WRITE));
      ASSERT_EQ(0, memcmp(image + before + kPage, reinterpret_cast<char*>(image) + before + kPage, kPage));
      const std::string want = FileBytes(before, size);
      ASSERT_EQ(0, memcmp(image + before, want.data(), want.size()));
    }
    ASSERT_EQ(0, munmap(image, before + size));
  }
  close(fd);
}

// --- The registers a rewritten call may be tempted to use. -----------------------------------------------------------

TEST(RewriteTest, TheProgramMayUseGs) {
  WarmUp();
  const pid_t child = fork();
  if (child == 0) {
    static long block[8] = {0, 0x1234};
    if (syscall(SYS_arch_prctl, ARCH_SET_GS, block) != 0) _exit(1);
    for (int i = 0; i < kWarm; ++i) {
      long value = 0;
      asm volatile("mov %%gs:8, %0" : "=r"(value));
      if (value != 0x1234) _exit(2);
      if (RawLoad() != getppid() || RawRet(SYS_close, -1) != -EBADF || RawRegisters() != 0) _exit(3);
    }
    unsigned long base = 0;
    if (syscall(SYS_arch_prctl, ARCH_GET_GS, &base) != 0 || base != reinterpret_cast<unsigned long>(block)) _exit(4);
    _exit(7);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(7, WEXITSTATUS(status)) << status;
}

TEST(RewriteTest, ASmallStackIsEnough) {
  WarmUp();
  // A call needs no stack at all: rsp may be anything.
  long result = 0;
  const pid_t parent = getppid();
  for (int i = 0; i < 100; ++i) {
    asm volatile(
        "mov %%rsp, %%rbx\n"
        "xor %%esp, %%esp\n"
        "mov $110, %%eax\n"
        "syscall\n"
        "mov %%rbx, %%rsp\n"
        : "=a"(result)
        :
        : "rbx", "rcx", "r11", "memory");
    ASSERT_EQ(parent, result);
  }
}

}  // namespace
