// What a tracer sees of rewritten call sites: the program as it is in its file, which is also what runs while it is
// traced and what forced writes change.
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/raw_calls.h"

namespace {

using guest::WarmUp;

// A process that is warm, told by a byte in `ready`, and then calls RawRet until it is killed.
pid_t WarmCaller(int ready) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  WarmUp();
  if (write(ready, "x", 1) != 1) _exit(1);
  for (;;) RawRet(SYS_getppid);
}

// Steps until the thread is at `from`, and then through the function: where it was, as offsets from `from`.
std::vector<unsigned long> StepThrough(pid_t pid, unsigned long from, unsigned long size) {
  std::vector<unsigned long> seen;
  for (int i = 0; i < 10000; ++i) {
    user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, pid, nullptr, &regs) != 0) break;
    if (!seen.empty() && (regs.rip < from || regs.rip >= from + size)) {
      seen.push_back(regs.rip - from);
      break;
    }
    if (regs.rip == from || !seen.empty()) seen.push_back(regs.rip - from);
    int status;
    if (ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr) != 0 || waitpid(pid, &status, 0) != pid) break;
  }
  return seen;
}

TEST(RewriteTracerTest, ATracerSeesAndRunsTheOriginal) {
  int ready[2];
  ASSERT_EQ(0, pipe(ready));
  const pid_t pid = WarmCaller(ready[1]);
  char byte;
  ASSERT_EQ(1, read(ready[0], &byte, 1));
  ASSERT_EQ(0, ptrace(PTRACE_ATTACH, pid, nullptr, nullptr));
  int status;
  ASSERT_EQ(pid, waitpid(pid, &status, 0));
  ASSERT_TRUE(WIFSTOPPED(status));
  const auto start = reinterpret_cast<unsigned long>(&RawRet);
  errno = 0;
  // mov %rdi,%rax; mov %rsi,%rdi; mov %rdx,%rsi; mov %rcx,%rdx; mov %r8,%r10; mov %r9,%r8; nop; syscall; ret
  EXPECT_EQ(0x48f78948f88948 | (0x89ul << 56),
            static_cast<unsigned long>(ptrace(PTRACE_PEEKTEXT, pid, start, nullptr)));
  const auto tail = static_cast<unsigned long>(ptrace(PTRACE_PEEKTEXT, pid, start + 18, nullptr));
  EXPECT_EQ(0xc3050f90u, tail & 0xffffffff);
  const std::vector<unsigned long> steps = StepThrough(pid, start, 22);
  ASSERT_EQ(10u, steps.size());
  EXPECT_EQ((std::vector<unsigned long>{0, 3, 6, 9, 12, 15, 18, 19, 21}),
            std::vector<unsigned long>(steps.begin(), steps.end() - 1));
  // A breakpoint on the call's own instruction.
  ASSERT_EQ(0, ptrace(PTRACE_POKETEXT, pid, start + 18, (tail & ~0xff00ul) | 0xcc00));
  ASSERT_EQ(0, ptrace(PTRACE_CONT, pid, nullptr, nullptr));
  ASSERT_EQ(pid, waitpid(pid, &status, 0));
  ASSERT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP) << std::hex << status;
  user_regs_struct regs;
  ASSERT_EQ(0, ptrace(PTRACE_GETREGS, pid, nullptr, &regs));
  EXPECT_EQ(start + 20, regs.rip);
  ASSERT_EQ(0, ptrace(PTRACE_POKETEXT, pid, start + 18, tail));
  regs.rip = start + 19;
  ASSERT_EQ(0, ptrace(PTRACE_SETREGS, pid, nullptr, &regs));
  ASSERT_EQ(0, ptrace(PTRACE_DETACH, pid, nullptr, nullptr));
  kill(pid, SIGKILL);
  ASSERT_EQ(pid, waitpid(pid, &status, 0));
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  close(ready[0]);
  close(ready[1]);
}

TEST(RewriteTracerTest, AForcedWriteGoesToTheOriginal) {
  WarmUp();
  const int mem = open("/proc/self/mem", O_RDWR);
  ASSERT_GE(mem, 0);
  // The ret behind the call becomes a nop, and the padding behind it a ret.
  const auto at = reinterpret_cast<off_t>(&RawRet) + 21;
  unsigned char old[2];
  ASSERT_EQ(2, pread(mem, old, 2, at));
  ASSERT_EQ(0xc3, old[0]);
  const unsigned char changed[2] = {0x90, 0xc3};
  ASSERT_EQ(2, pwrite(mem, changed, 2, at));
  EXPECT_EQ(getppid(), RawRet(SYS_getppid));
  unsigned char now[2];
  ASSERT_EQ(2, pread(mem, now, 2, at));
  EXPECT_EQ(0, memcmp(now, changed, 2));
  ASSERT_EQ(2, pwrite(mem, old, 2, at));
  EXPECT_EQ(getppid(), RawRet(SYS_getppid));
  close(mem);
}

}  // namespace
