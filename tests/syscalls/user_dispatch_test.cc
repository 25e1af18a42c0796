// Syscall user dispatch and PR_SET_MDWE (prctl(2)).
#include <linux/prctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#define PR_MDWE_NO_INHERIT 2
#endif

namespace guest {
namespace {

long Set(unsigned long mode, unsigned long start, unsigned long length, volatile char* selector) {
  return prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, start, length, selector);
}

TEST(UserDispatchTest, Arguments) {
  volatile char selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  EXPECT_ERRNO(EINVAL, Set(PR_SYS_DISPATCH_OFF, 1, 0, nullptr));
  EXPECT_ERRNO(EINVAL, Set(PR_SYS_DISPATCH_OFF, 0, 1, nullptr));
  EXPECT_ERRNO(EINVAL, Set(PR_SYS_DISPATCH_OFF, 0, 0, &selector));
  EXPECT_ERRNO(EINVAL, Set(99, 0, 0, nullptr));
  EXPECT_ERRNO(EINVAL, Set(PR_SYS_DISPATCH_ON, 1, 0, nullptr));
  EXPECT_ERRNO(EINVAL, Set(PR_SYS_DISPATCH_ON, 1, -1ul, nullptr));
  EXPECT_ERRNO(EFAULT, Set(PR_SYS_DISPATCH_ON, 0, 0, reinterpret_cast<char*>(-4096l)));
  EXPECT_OK(Set(PR_SYS_DISPATCH_ON, 0, 0, &selector));
  EXPECT_OK(Set(PR_SYS_DISPATCH_OFF, 0, 0, nullptr));
}

volatile char selector = SYSCALL_DISPATCH_FILTER_ALLOW;
volatile int caught = 0, caught_call = 0, caught_code = 0;
volatile unsigned long caught_address = 0;

void Catch(int, siginfo_t* info, void*) {
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;  // or returning from here would be caught too
  caught = caught + 1;
  caught_call = info->si_syscall;
  caught_code = info->si_code;
  caught_address = reinterpret_cast<unsigned long>(info->si_call_addr);
}

void Listen() {
  struct sigaction action = {};
  action.sa_sigaction = Catch;
  action.sa_flags = SA_SIGINFO;
  ASSERT_OK(sigaction(SIGSYS, &action, nullptr));
}

// A call whose address is known.
extern "C" char dispatch_test_behind_call[];
__attribute__((noinline)) long Call(long number) {
  long result;
  asm volatile("syscall\n.globl dispatch_test_behind_call\ndispatch_test_behind_call:"
               : "=a"(result)
               : "a"(number)
               : "rcx", "r11", "memory");
  return result;
}

TEST(UserDispatchTest, CallsBecomeSignals) {
  Listen();
  caught = 0;
  ASSERT_OK(Set(PR_SYS_DISPATCH_ON, 0, 0, &selector));
  EXPECT_EQ(Call(SYS_getpid), getpid());
  EXPECT_EQ(caught, 0);
  selector = SYSCALL_DISPATCH_FILTER_BLOCK;
  const long result = Call(SYS_getppid);
  EXPECT_EQ(caught, 1);
  EXPECT_EQ(caught_call, SYS_getppid);
  EXPECT_EQ(caught_code, 2) << "SYS_USER_DISPATCH";
  EXPECT_EQ(caught_address, reinterpret_cast<unsigned long>(dispatch_test_behind_call));
  EXPECT_EQ(result, SYS_getppid) << "the registers are as before the call";
  // Numbers that no kernel knows too.
  selector = SYSCALL_DISPATCH_FILTER_BLOCK;
  Call(100000);
  EXPECT_EQ(caught, 2);
  EXPECT_EQ(caught_call, 100000);
  EXPECT_OK(Set(PR_SYS_DISPATCH_OFF, 0, 0, nullptr));
  selector = SYSCALL_DISPATCH_FILTER_BLOCK;
  EXPECT_EQ(Call(SYS_getpid), getpid());
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;
}

TEST(UserDispatchTest, ARangeIsLetThrough) {
  Listen();
  caught = 0;
  const unsigned long address = reinterpret_cast<unsigned long>(dispatch_test_behind_call);
  ASSERT_OK(Set(PR_SYS_DISPATCH_ON, address, 1, &selector));
  selector = SYSCALL_DISPATCH_FILTER_BLOCK;
  const long inside = Call(SYS_getpid);
  const int caught_inside = caught;
  const long outside = syscall(SYS_getppid);
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  EXPECT_OK(Set(PR_SYS_DISPATCH_OFF, 0, 0, nullptr));
  EXPECT_EQ(inside, getpid());
  EXPECT_EQ(caught_inside, 0);
  EXPECT_EQ(outside, SYS_getppid);
  EXPECT_EQ(caught, 1);
}

TEST(UserDispatchTest, ABadSelectorKills) {
  EXPECT_EQ(RunInChild([] {
              static volatile char odd = 5;
              Set(PR_SYS_DISPATCH_ON, 0, 0, &odd);
              return 0;
            }),
            128 + SIGSYS);
  EXPECT_EQ(RunInChild([] {
              Mapping page(1);
              Set(PR_SYS_DISPATCH_ON, 0, 0, page.page());
              munmap(page.page(), kPage);
              getppid();
              return 0;
            }),
            128 + SIGSEGV);
}

TEST(UserDispatchTest, NotInherited) {
  Listen();
  ASSERT_OK(Set(PR_SYS_DISPATCH_ON, 0, 0, &selector));
  const pid_t child = fork();
  if (child == 0) {
    selector = SYSCALL_DISPATCH_FILTER_BLOCK;
    _exit(Call(SYS_getpid) == SYS_getpid ? 1 : 0);
  }
  EXPECT_OK(Set(PR_SYS_DISPATCH_OFF, 0, 0, nullptr));
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(MdweTest, Arguments) {
  EXPECT_EQ(RunInChild([] {
              EXPECT_EQ(prctl(PR_GET_MDWE, 0, 0, 0, 0), 0);
              EXPECT_ERRNO(EINVAL, prctl(PR_GET_MDWE, 1, 0, 0, 0));
              EXPECT_ERRNO(EINVAL, prctl(PR_SET_MDWE, 8, 0, 0, 0));
              EXPECT_ERRNO(EINVAL, prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 1, 0, 0));
              EXPECT_ERRNO(EINVAL, prctl(PR_SET_MDWE, PR_MDWE_NO_INHERIT, 0, 0, 0));
              EXPECT_OK(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
              EXPECT_EQ(prctl(PR_GET_MDWE, 0, 0, 0, 0), PR_MDWE_REFUSE_EXEC_GAIN);
              EXPECT_ERRNO(EPERM, prctl(PR_SET_MDWE, 0, 0, 0, 0));
              return testing::Test::HasFailure();
            }),
            0);
}

TEST(MdweTest, NothingBecomesExecutable) {
  EXPECT_EQ(RunInChild([] {
              Mapping data(1), code(1, PROT_READ | PROT_EXEC);
              if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0) return 1;
              EXPECT_ERRNO(EACCES, mprotect(data.page(), kPage, PROT_READ | PROT_EXEC));
              EXPECT_OK(mprotect(code.page(), kPage, PROT_READ | PROT_EXEC));
              EXPECT_ERRNO(EACCES, mprotect(code.page(), kPage, PROT_READ | PROT_WRITE | PROT_EXEC));
              EXPECT_EQ(mmap(nullptr, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                        MAP_FAILED);
              EXPECT_EQ(errno, EACCES);
              EXPECT_OK(mprotect(code.page(), kPage, PROT_READ));
              EXPECT_ERRNO(EACCES, mprotect(code.page(), kPage, PROT_READ | PROT_EXEC)) << "not again";
              EXPECT_EQ(RunInChild([] { return prctl(PR_GET_MDWE, 0, 0, 0, 0); }), PR_MDWE_REFUSE_EXEC_GAIN);
              return static_cast<int>(testing::Test::HasFailure());
            }),
            0);
}

TEST(MdweTest, NotInheritedWhenAsked) {
  EXPECT_EQ(RunInChild([] {
              if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN | PR_MDWE_NO_INHERIT, 0, 0, 0) != 0) return 1;
              return RunInChild([] { return prctl(PR_GET_MDWE, 0, 0, 0, 0); });
            }),
            0);
}

}  // namespace
}  // namespace guest
