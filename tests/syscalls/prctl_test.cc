// prctl(2), arch_prctl(2), kcmp(2), personality(2).
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace {

TEST(PrctlTest, Name) {
  char old[17] = {}, name[17] = {};
  ASSERT_EQ(prctl(PR_GET_NAME, old), 0);
  EXPECT_EQ(prctl(PR_SET_NAME, "a name that is far too long"), 0);
  EXPECT_EQ(prctl(PR_GET_NAME, name), 0);
  EXPECT_STREQ(name, "a name that is ");
  EXPECT_EQ(prctl(PR_SET_NAME, 8), -1);
  EXPECT_EQ(errno, EFAULT);
  prctl(PR_SET_NAME, old);
}

TEST(PrctlTest, ProcessMadviseAndMrelease) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  char* const page =
      static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const iovec range = {page, 4096};
  EXPECT_EQ(syscall(SYS_process_madvise, -1, &range, 1, MADV_COLD, 0), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(syscall(SYS_process_madvise, pidfd, &range, 1, MADV_COLD, 1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_process_madvise, pidfd, &range, 1, MADV_DONTNEED, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_process_madvise, pidfd, &range, 1025, MADV_COLD, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_process_mrelease, pidfd, 0), -1);  // it lives
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_process_mrelease, pidfd, 1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(setpgid(-1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  struct pollfd ready = {pidfd, POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 1);
  EXPECT_EQ(ready.revents, POLLIN | POLLHUP);
  munmap(page, 4096);
  close(pidfd);
}

TEST(PrctlTest, Errors) {
  EXPECT_EQ(prctl(9999), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(prctl(PR_CAPBSET_READ, 1000), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(prctl(PR_SET_PDEATHSIG, 1000), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 1000, 0, 0), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(PrctlTest, StoredAttributes) {
  int value = -1;
  EXPECT_EQ(prctl(PR_SET_PDEATHSIG, SIGUSR1), 0);
  EXPECT_EQ(prctl(PR_GET_PDEATHSIG, &value), 0);
  EXPECT_EQ(value, SIGUSR1);
  prctl(PR_SET_PDEATHSIG, 0);
  EXPECT_EQ(prctl(PR_GET_DUMPABLE), 1);
  EXPECT_EQ(prctl(PR_SET_DUMPABLE, 0), 0);
  EXPECT_EQ(prctl(PR_GET_DUMPABLE), 0);
  EXPECT_EQ(prctl(PR_SET_DUMPABLE, 1), 0);
  EXPECT_EQ(prctl(PR_SET_TIMERSLACK, 12345), 0);
  EXPECT_EQ(prctl(PR_GET_TIMERSLACK), 12345);
}

TEST(ArchPrctlTest, GsBase) {
  unsigned long old = 0, now = 0;
  ASSERT_EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &old), 0);
  EXPECT_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, &now), 0);
  EXPECT_EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &now), 0);
  EXPECT_EQ(now, reinterpret_cast<unsigned long>(&now));
  syscall(SYS_arch_prctl, ARCH_SET_GS, old);
  EXPECT_EQ(syscall(SYS_arch_prctl, ARCH_SET_FS, ~0ul), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(syscall(SYS_arch_prctl, 0x9999, 0), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(KcmpTest, FilesAndMemory) {
  const int copy = dup(0);
  if (copy >= 0) {
    EXPECT_EQ(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 0, copy), 0);
    close(copy);
  }
  EXPECT_EQ(syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0), 0);
  // What an epoll set watches.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int set = epoll_create1(0);
  epoll_event event = {};
  event.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event), 0);
  kcmp_epoll_slot slot = {static_cast<__u32>(set), static_cast<__u32>(ends[0]), 0};
  EXPECT_EQ(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot), 0);
  EXPECT_GT(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[1], &slot), 0);
  slot.toff = 1;
  EXPECT_EQ(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot), -1);
  EXPECT_EQ(errno, ENOENT);
  slot.efd = static_cast<__u32>(ends[0]);
  EXPECT_EQ(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot), -1);
  EXPECT_EQ(errno, EINVAL);
  slot.efd = 12345;
  EXPECT_EQ(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
  close(set);
  close(ends[0]);
  close(ends[1]);
  EXPECT_EQ(syscall(SYS_kcmp, 0x3fffffff, getpid(), KCMP_VM, 0, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(PersonalityTest, QueryAndSet) {
  const int old = personality(0xffffffff);
  EXPECT_GE(old, 0);
  EXPECT_EQ(personality(old | ADDR_NO_RANDOMIZE), old);
  EXPECT_EQ(personality(0xffffffff), old | ADDR_NO_RANDOMIZE);
  personality(old);
  EXPECT_EQ(guest::RunInChild([] {
              personality(READ_IMPLIES_EXEC);
              char* const at = static_cast<char*>(mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
              if (mprotect(at + 4096, 4096, PROT_READ | PROT_WRITE) != 0) return 1;
              at[4096] = static_cast<char>(0xc3);  // ret
              reinterpret_cast<void (*)()>(at + 4096)();
              mprotect(at + 4096, 4096, PROT_NONE);
              return guest::ReadFileText("/proc/self/maps").find("r-xp 00000000 00:00 0 ") != std::string::npos ? 0 : 2;
            }),
            0);
}

TEST(PrctlTest, WhatIsOffMayBeTurnedOff) {
  struct {
    int option;
    unsigned long argument;
  } cases[] = {{59, 0} /*PR_SET_SYSCALL_USER_DISPATCH*/,
               {65, 0} /*PR_SET_MDWE*/,
               {66, 0},
               {67, 0} /*PR_SET_MEMORY_MERGE*/,
               {68, 0}};
  for (const auto& c : cases) {
    EXPECT_EQ(prctl(c.option, c.argument, 0, 0, 0), 0) << c.option;
    EXPECT_EQ(prctl(c.option, c.argument, 0, 0, 1), -1) << c.option;
    EXPECT_EQ(errno, EINVAL);
  }
}

TEST(LsmTest, ListModules) {
  constexpr long kListModules = 461;
  uint64_t ids[64] = {};
  uint32_t size = sizeof(ids);
  const long count = syscall(kListModules, ids, &size, 0);
  if (count == -1 && errno == ENOSYS) GTEST_SKIP() << "older than Linux 6.8";
  ASSERT_GE(count, 1);
  EXPECT_EQ(size, count * sizeof(ids[0]));
  size = 1;
  EXPECT_EQ(syscall(kListModules, ids, &size, 0), -1);
  EXPECT_EQ(errno, E2BIG);
  EXPECT_EQ(syscall(kListModules, ids, &size, 1), -1);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
