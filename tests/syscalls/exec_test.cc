// execve(2), execveat(2): what survives and what does not. The program runs itself as the helper.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

// The helper's answer is its exit status.
int Helper(const std::string& what) {
  if (what == "pid") return getpid() == static_cast<pid_t>(syscall(SYS_gettid)) ? 0 : 1;
  if (what == "ignored") {
    struct sigaction usr1, usr2;
    sigaction(SIGUSR1, nullptr, &usr1);
    sigaction(SIGUSR2, nullptr, &usr2);
    return usr1.sa_handler == SIG_IGN && usr2.sa_handler == SIG_DFL ? 0 : 1;
  }
  if (what == "mask") {
    sigset_t mask, pending;
    sigprocmask(SIG_BLOCK, nullptr, &mask);
    sigpending(&pending);
    return sigismember(&mask, SIGUSR1) && sigismember(&pending, SIGUSR1) ? 0 : 1;
  }
  if (what == "fds") {
    const bool kept = fcntl(100, F_GETFD) == 0;
    const bool closed = fcntl(101, F_GETFD) == -1 && errno == EBADF;
    return kept && closed ? 0 : 1;
  }
  return 77;
}

[[maybe_unused]] const bool ran_as_helper = [] {
  if (const char* what = getenv("EXEC_TEST_HELPER")) _exit(Helper(what));
  return false;
}();

constexpr char kSelf[] = "/proc/self/exe";

void ExecHelper(const char* what) {
  const std::string env = std::string("EXEC_TEST_HELPER=") + what;
  char* const argv[] = {const_cast<char*>("helper"), nullptr};
  char* const envp[] = {const_cast<char*>(env.c_str()), nullptr};
  execve(kSelf, argv, envp);
  _exit(99);
}

template <typename F>
int StatusOfChild(F body) {
  const pid_t pid = fork();
  if (pid == 0) {
    body();
    _exit(98);
  }
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

TEST(ExecTest, DispositionsAndMask) {
  EXPECT_EQ(StatusOfChild([] {
              signal(SIGUSR1, SIG_IGN);
              signal(SIGUSR2, [](int) {});
              ExecHelper("ignored");
            }),
            0);
  EXPECT_EQ(StatusOfChild([] {
              sigset_t set;
              sigemptyset(&set);
              sigaddset(&set, SIGUSR1);
              sigprocmask(SIG_BLOCK, &set, nullptr);
              raise(SIGUSR1);
              ExecHelper("mask");
            }),
            0);
}

TEST(ExecTest, CloseOnExec) {
  EXPECT_EQ(StatusOfChild([] {
              dup2(0, 100);
              dup3(0, 101, O_CLOEXEC);
              ExecHelper("fds");
            }),
            0);
}

TEST(ExecTest, ThreadBecomesTheLeader) {
  EXPECT_EQ(StatusOfChild([] {
              pthread_t busy, exec;
              pthread_create(
                  &busy, nullptr,
                  [](void*) -> void* {
                    for (;;) {
                    }
                  },
                  nullptr);
              pthread_create(
                  &exec, nullptr,
                  [](void*) -> void* {
                    ExecHelper("pid");
                    return nullptr;
                  },
                  nullptr);
              for (;;) pause();
            }),
            0);
}

TEST(ExecTest, VforkAndExec) {
  for (int i = 0; i < 20; ++i) {
    const pid_t pid = vfork();
    if (pid == 0) ExecHelper("pid");
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
}

TEST(ExecTest, ExecveatByDescriptor) {
  EXPECT_EQ(StatusOfChild([] {
              const int fd = open(kSelf, O_PATH);
              char* const argv[] = {const_cast<char*>("helper"), nullptr};
              char* const envp[] = {const_cast<char*>("EXEC_TEST_HELPER=pid"), nullptr};
              syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
            }),
            0);
}

TEST(ExecTest, Errors) {
  char* const argv[] = {const_cast<char*>("x"), nullptr};
  const auto exec_errno = [&](const char* path) {
    EXPECT_EQ(execve(path, argv, nullptr), -1);
    return errno;
  };
  EXPECT_EQ(exec_errno("/no/such/file"), ENOENT);
  EXPECT_EQ(exec_errno(""), ENOENT);
  EXPECT_EQ(exec_errno("/"), EACCES);
  EXPECT_EQ(exec_errno(std::string(5000, 'a').c_str()), ENAMETOOLONG);
  EXPECT_EQ(syscall(SYS_execve, 8, argv, nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(syscall(SYS_execve, kSelf, 8, nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(syscall(SYS_execveat, AT_FDCWD, kSelf, argv, nullptr, 0x8000), -1);
  EXPECT_EQ(errno, EINVAL);
  const std::string huge(200'000, 'x');
  char* const long_argv[] = {const_cast<char*>(huge.c_str()), nullptr};
  EXPECT_EQ(execve(kSelf, long_argv, nullptr), -1);
  EXPECT_EQ(errno, E2BIG);
}

TEST(ExecTest, NotAProgram) {
  char path[] = "/tmp/exec_testXXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(write(fd, "not a program\n", 14), 14);
  fchmod(fd, 0755);
  close(fd);
  char* const argv[] = {path, nullptr};
  EXPECT_EQ(execve(path, argv, nullptr), -1);
  EXPECT_EQ(errno, ENOEXEC);
  chmod(path, 0644);
  EXPECT_EQ(execve(path, argv, nullptr), -1);
  EXPECT_EQ(errno, EACCES);
  unlink(path);
}

}  // namespace
