// getrlimit(2), setrlimit(2), prlimit(2), and the limits that no other test is about.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

constexpr pid_t kNobodyHere = 0x3fffffff;

void SetLimit(int resource, rlim_t soft) {
  rlimit limit;
  EXPECT_OK(getrlimit(static_cast<__rlimit_resource_t>(resource), &limit));
  limit.rlim_cur = soft;
  EXPECT_OK(setrlimit(static_cast<__rlimit_resource_t>(resource), &limit));
}
void InChild(const std::function<void()>& body) {
  EXPECT_EQ(RunInChild([&] {
              body();
              return 0;
            }),
            0);
}

TEST(LimitsTest, AllReadAndInherit) {
  InChild([] {
    for (int resource = 0; resource < RLIM_NLIMITS; ++resource) {
      rlimit limit = {1, 0};
      EXPECT_OK(syscall(SYS_getrlimit, resource, &limit)) << resource;
      EXPECT_LE(limit.rlim_cur, limit.rlim_max);
    }
    SetLimit(RLIMIT_NOFILE, 77);
    EXPECT_EQ(RunInChild([] {
                rlimit limit;
                return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 77 ? 0 : 1;
              }),
              0);
  });
}

TEST(LimitsTest, Errors) {
  rlimit limit = {10, 5};
  EXPECT_ERRNO(EINVAL, syscall(SYS_getrlimit, RLIM_NLIMITS, &limit));
  EXPECT_ERRNO(EINVAL, syscall(SYS_getrlimit, -1, &limit));
  EXPECT_ERRNO(EFAULT, syscall(SYS_getrlimit, RLIMIT_CORE, BadPointer()));
  EXPECT_ERRNO(EINVAL, syscall(SYS_setrlimit, RLIMIT_CORE, &limit)) << "soft above hard";
  EXPECT_ERRNO(EFAULT, syscall(SYS_setrlimit, RLIM_NLIMITS, BadPointer()));
  EXPECT_ERRNO(EINVAL, syscall(SYS_prlimit64, 0, RLIM_NLIMITS, nullptr, &limit));
  EXPECT_ERRNO(ESRCH, syscall(SYS_prlimit64, kNobodyHere, RLIM_NLIMITS, nullptr, &limit));
  EXPECT_ERRNO(EFAULT, syscall(SYS_prlimit64, kNobodyHere, RLIMIT_CORE, BadPointer(), nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_prlimit64, 0, RLIMIT_CORE, nullptr, BadPointer()));
  EXPECT_OK(syscall(SYS_prlimit64, 0, RLIMIT_CORE, nullptr, nullptr));
  limit = {RLIM_INFINITY, RLIM_INFINITY};
  EXPECT_ERRNO(EPERM, setrlimit(RLIMIT_NOFILE, &limit)) << "above fs.nr_open even for root";
}

TEST(LimitsTest, TheHardLimitOnlySinksWithoutPrivilege) {
  EXPECT_EQ(RunAsNobody([] {
              const rlimit lower = {3, 5}, higher = {3, 6}, soft = {5, 5};
              EXPECT_OK(setrlimit(RLIMIT_CORE, &lower));
              EXPECT_ERRNO(EPERM, setrlimit(RLIMIT_CORE, &higher));
              EXPECT_OK(setrlimit(RLIMIT_CORE, &soft));
              return 0;
            }),
            0);
}

TEST(LimitsTest, OfAnotherProcess) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  const pid_t child = fork();
  if (child == 0) {
    char byte;
    close(pipes[1]);
    (void)!read(pipes[0], &byte, 1);
    rlimit now;
    _exit(getrlimit(RLIMIT_CORE, &now) == 0 && now.rlim_max == 7 ? 0 : 1);
  }
  const rlimit wanted = {7, 7};
  rlimit old = {};
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, prlimit(child, RLIMIT_CORE, nullptr, &old));
              return 0;
            }),
            0);
  EXPECT_OK(prlimit(child, RLIMIT_CORE, &wanted, &old));
  EXPECT_OK(prlimit(child, RLIMIT_CORE, nullptr, &old));
  EXPECT_EQ(old.rlim_max, 7u);
  close(pipes[0]);
  close(pipes[1]);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(DescriptorLimitTest, EverythingThatMakesOneObeys) {
  TempDir dir;
  const std::string file = dir / "f";
  InChild([&] {
    ScopedFd last(open(file.c_str(), O_CREAT | O_RDWR, 0600));
    SetLimit(RLIMIT_NOFILE, static_cast<rlim_t>(last.get()) + 1);
    int pair[2];
    EXPECT_ERRNO(EMFILE, open(file.c_str(), O_RDONLY));
    EXPECT_ERRNO(EMFILE, open((dir / "new").c_str(), O_CREAT | O_RDWR, 0600));
    EXPECT_ERRNO(EMFILE, dup(last.get()));
    EXPECT_ERRNO(EINVAL, fcntl(last.get(), F_DUPFD, last.get() + 1));
    EXPECT_ERRNO(EMFILE, fcntl(last.get(), F_DUPFD, last.get()));
    EXPECT_ERRNO(EBADF, dup2(last.get(), last.get() + 1));
    EXPECT_ERRNO(EMFILE, pipe(pair));
    EXPECT_ERRNO(EMFILE, socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_ERRNO(EMFILE, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    EXPECT_ERRNO(EMFILE, static_cast<int>(syscall(SYS_epoll_create1, 0)));
    pollfd many[2048] = {};
    EXPECT_ERRNO(EINVAL, poll(many, 2048, 0)) << "more than there can be";
    char byte = 0;
    EXPECT_EQ(read(last.get(), &byte, 1), 0) << "what is open stays open";
  });
}

TEST(FileSizeLimitTest, SignalsAndCutsShort) {
  TempDir dir;
  const std::string file = dir / "f";
  InChild([&] {
    static int signals;
    signals = 0;
    signal(SIGXFSZ, [](int) { ++signals; });
    ScopedFd fd(open(file.c_str(), O_CREAT | O_RDWR, 0600));
    SetLimit(RLIMIT_FSIZE, 100);
    const std::string text(80, 'x');
    EXPECT_EQ(write(fd.get(), text.data(), 80), 80);
    EXPECT_EQ(write(fd.get(), text.data(), 80), 20) << "up to the limit";
    EXPECT_EQ(signals, 0);
    EXPECT_ERRNO(EFBIG, write(fd.get(), text.data(), 1));
    EXPECT_EQ(signals, 1);
    EXPECT_ERRNO(EFBIG, pwrite(fd.get(), text.data(), 1, 100));
    EXPECT_ERRNO(EFBIG, ftruncate(fd.get(), 101));
    EXPECT_ERRNO(EFBIG, truncate(file.c_str(), 101));
    EXPECT_ERRNO(EFBIG, fallocate(fd.get(), 0, 0, 101));
    EXPECT_EQ(signals, 5);
    EXPECT_OK(ftruncate(fd.get(), 100));
    EXPECT_EQ(pwrite(fd.get(), text.data(), 1, 99), 1);
    int pipes[2];
    EXPECT_OK(pipe(pipes));
    EXPECT_EQ(write(pipes[1], text.data(), 80), 80);
    EXPECT_EQ(write(pipes[1], text.data(), 80), 80) << "pipes have no such limit";
    EXPECT_EQ(signals, 5);
  });
  EXPECT_EQ(RunInChild([&] {
              ScopedFd fd(open(file.c_str(), O_RDWR));
              SetLimit(RLIMIT_CORE, 0);
              SetLimit(RLIMIT_FSIZE, 0);
              signal(SIGXFSZ, SIG_DFL);
              return static_cast<int>(pwrite(fd.get(), "x", 1, 200));
            }),
            128 + SIGXFSZ);
}

TEST(AddressSpaceLimitTest, RefusesMappings) {
  InChild([] {
    SetLimit(RLIMIT_AS, rlim_t{256} << 20);
    EXPECT_ERRNO(ENOMEM, Address(mmap(nullptr, size_t{300} << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    void* fits = mmap(nullptr, size_t{1} << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(fits, MAP_FAILED);
    EXPECT_OK(munmap(fits, size_t{1} << 20));
  });
}

__attribute__((noinline)) int Descend(int depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? frame[0] : Descend(depth - 1) + frame[0];
}

TEST(StackLimitTest, TheStackGrowsUpToIt) {
  EXPECT_EQ(RunInChild([] { return Descend(1500) == -1 ? 1 : 0; }), 0);
  EXPECT_EQ(RunInChild([] {
              SetLimit(RLIMIT_CORE, 0);
              return Descend(5000) == -1 ? 1 : 0;
            }),
            128 + SIGSEGV);
}

TEST(StackLimitTest, LoweredAtRunTime) {
  EXPECT_EQ(RunInChild([] {
              SetLimit(RLIMIT_CORE, 0);
              SetLimit(RLIMIT_STACK, rlim_t{1} << 20);
              return Descend(100) == -1 ? 1 : 0;
            }),
            0);
  EXPECT_EQ(RunInChild([] {
              SetLimit(RLIMIT_CORE, 0);
              SetLimit(RLIMIT_STACK, rlim_t{1} << 20);
              return Descend(1000) == -1 ? 1 : 0;
            }),
            128 + SIGSEGV);
}

TEST(StackLimitTest, RaisedAgain) {
  EXPECT_EQ(RunInChild([] {
              rlimit limit = {rlim_t{1} << 20, rlim_t{6} << 20};
              EXPECT_OK(setrlimit(RLIMIT_STACK, &limit));
              limit.rlim_cur = limit.rlim_max;
              EXPECT_OK(setrlimit(RLIMIT_STACK, &limit));
              return Descend(1000) == -1 ? 1 : 0;
            }),
            0);
}

TEST(CpuLimitTest, SignalsThenKills) {
  EXPECT_EQ(RunInChild([] {
              SetLimit(RLIMIT_CORE, 0);
              const rlimit limit = {1, 1};
              EXPECT_OK(setrlimit(RLIMIT_CPU, &limit));
              for (;;) {
              }
              return 0;
            }),
            128 + SIGKILL);
}

TEST(ProcessLimitTest, CountsTheUsersProcesses) {
  EXPECT_EQ(RunInChild([] {
              constexpr uid_t kOwn = 34567;  // nobody else's
              if (setresgid(kOwn, kOwn, kOwn) != 0 || setresuid(kOwn, kOwn, kOwn) != 0) return 1;
              SetLimit(RLIMIT_NPROC, 2);
              const pid_t first = fork();
              if (first == 0) {
                for (;;) pause();
              }
              EXPECT_GT(first, 0);
              EXPECT_ERRNO(EAGAIN, fork());
              kill(first, SIGKILL);
              waitpid(first, nullptr, 0);
              EXPECT_EQ(RunInChild([] { return 0; }), 0);
              return 0;
            }),
            0);
}

}  // namespace
}  // namespace guest
