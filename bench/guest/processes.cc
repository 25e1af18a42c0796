// Processes: fork, exec, spawn, and signals.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "bench/guest/harness.h"

extern char** environ;

namespace sandbox::bench {
namespace {

void Reap(pid_t pid) {
  int status = -1;
  Must(::waitpid(pid, &status, 0) == pid && status == 0, "waitpid");
}

// The program next to this one that does nothing.
std::string StaticTrue() {
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  Must(length > 0, "readlink");
  const std::string self(path, static_cast<size_t>(length));
  return self.substr(0, self.rfind('/') + 1) + "static_true";
}

void ForkExec(const std::string& program) {
  const pid_t pid = ::fork();
  Must(pid >= 0, "fork");
  if (pid == 0) {
    ::execl(program.c_str(), "true", nullptr);
    ::_exit(127);
  }
  Reap(pid);
}

void Spawn(const std::string& program) {
  pid_t pid;
  char name[] = "true";
  char* argv[] = {name, nullptr};
  Must(::posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv, environ) == 0, "posix_spawn");
  Reap(pid);
}

void Ignore(int) {}

}  // namespace

GUEST_BENCHMARK("process", "fork_wait") {
  run.Loop([] {
    const pid_t pid = ::fork();
    Must(pid >= 0, "fork");
    if (pid == 0) ::_exit(0);
    Reap(pid);
  });
}

GUEST_BENCHMARK("process", "fork_wait_64m_dirty") {
  const size_t size = run.options().once ? 1 << 20 : 64 << 20;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  Must(memory != MAP_FAILED, "mmap");
  run.Loop([] {
    const pid_t pid = ::fork();
    Must(pid >= 0, "fork");
    if (pid == 0) ::_exit(0);
    Reap(pid);
  });
}

GUEST_BENCHMARK("process", "fork_exec_wait_static") {
  const std::string program = StaticTrue();
  run.Loop([&] { ForkExec(program); });
}

GUEST_BENCHMARK("process", "posix_spawn_static") {
  const std::string program = StaticTrue();
  run.Loop([&] { Spawn(program); });
}

GUEST_BENCHMARK("process", "posix_spawn_bin_true") {
  run.Loop([] { Spawn("/bin/true"); });
}

GUEST_BENCHMARK("process", "signal_to_self") {
  struct sigaction action = {};
  action.sa_handler = Ignore;
  Must(::sigaction(SIGUSR1, &action, nullptr) == 0, "sigaction");
  run.Loop([] { Must(::raise(SIGUSR1) == 0, "raise"); });
}

GUEST_BENCHMARK("process", "sigprocmask") {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGUSR2);
  run.Loop([&] {
    Must(::sigprocmask(SIG_BLOCK, &set, nullptr) == 0, "sigprocmask");
    Must(::sigprocmask(SIG_UNBLOCK, &set, nullptr) == 0, "sigprocmask");
  });
}

}  // namespace sandbox::bench
