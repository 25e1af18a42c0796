#include "runsc/container/hooks.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "base/io/whole_file.h"
#include "base/unique_fd.h"

namespace sandbox {
namespace {

constexpr size_t kMaxOutput = 4096;

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Of a process, to run hooks in.
struct Namespaces {
  UniqueFd process;  // invalid = the runtime's own
  int types = 0;     // CLONE_NEW*
};

absl::StatusOr<Namespaces> NamespacesOf(pid_t pid) {
  Namespaces of{UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))),
                CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS};
  struct stat own, theirs;
  if (!of.process.valid() || ::stat("/proc/self/ns/user", &own) != 0 ||
      ::stat(absl::StrCat("/proc/", pid, "/ns/user").c_str(), &theirs) != 0) {
    return Failed("namespaces for hooks");
  }
  // One's own cannot be entered (setns(2)).
  if (own.st_ino != theirs.st_ino) of.types |= CLONE_NEWUSER;
  return of;
}

[[noreturn]] void HookChild(const spec::Hook& hook, int input, int output, const Namespaces& namespaces) {
  ::setpgid(0, 0);  // with what it starts, so that a timeout ends all of it
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(input, 0);
  ::dup2(output, 1);
  ::dup2(output, 2);
  if (namespaces.process.valid() && ::setns(namespaces.process.get(), namespaces.types) != 0) {
    ::dprintf(2, "entering the container's namespaces: %s", std::strerror(errno));
    ::_exit(1);
  }
  const std::vector<std::string> argv = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  std::vector<char*> args = Pointers(argv);
  std::vector<char*> env = Pointers(hook.env);
  ::execve(hook.path.c_str(), args.data(), env.data());
  ::dprintf(2, "%s", std::strerror(errno));
  ::_exit(127);
}

int64_t NowMs() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// False when the deadline came first.
bool WaitUntil(int pidfd, int64_t deadline_ms) {
  for (;;) {
    const int64_t left = deadline_ms < 0 ? -1 : std::max<int64_t>(deadline_ms - NowMs(), 0);
    pollfd fd = {pidfd, POLLIN, 0};
    const int ready = ::poll(&fd, 1, static_cast<int>(std::min<int64_t>(left, 1 << 30)));
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) return true;
  }
}

std::string ReadOutput(int fd) {
  char text[kMaxOutput];
  const ssize_t got = ::pread(fd, text, sizeof(text), 0);
  std::string output(text, got > 0 ? static_cast<size_t>(got) : 0);
  while (!output.empty() && output.back() == '\n') output.pop_back();
  return output;
}

absl::Status RunHook(const std::string& name, const spec::Hook& hook, const std::string& state,
                     const Namespaces& namespaces) {
  // Files rather than pipes: a hook that never reads cannot block us.
  const auto input = MemoryFileWith("hook", state), output = MemoryFileWith("hook", "");
  if (!input.ok() || !output.ok())
    return absl::ResourceExhaustedError(name + ": no memory file for its state and output");
  const int64_t deadline = hook.timeout ? NowMs() + *hook.timeout * 1000 : -1;
  const pid_t pid = ::fork();
  if (pid < 0) return Failed(name);
  if (pid == 0) HookChild(hook, input->get(), output->get(), namespaces);
  ::setpgid(pid, pid);  // whichever of both runs first
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const bool in_time = WaitUntil(pidfd.get(), deadline);
  if (!in_time) ::kill(-pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time)
    return absl::DeadlineExceededError(absl::StrCat(name, ": hook ran past specified timeout of ", *hook.timeout, "s"));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  const std::string how = WIFSIGNALED(status) ? absl::StrCat("signal ", WTERMSIG(status))
                                              : absl::StrCat("exit status ", WEXITSTATUS(status));
  return absl::InternalError(absl::StrCat(name, ": ", how, ", output: ", ReadOutput(output->get())));
}

std::string NameOf(const char* kind, size_t number, const spec::Hook& hook) {
  return absl::StrCat("error running ", kind, " hook #", number, " (", hook.path, ")");
}

}  // namespace

absl::Status RunHooks(const char* kind, const std::vector<spec::Hook>& hooks, const std::string& state, pid_t enter) {
  if (hooks.empty()) return absl::OkStatus();
  Namespaces namespaces;
  if (enter != 0) {
    auto of = NamespacesOf(enter);
    if (!of.ok()) return of.status();
    namespaces = *std::move(of);
  }
  for (size_t i = 0; i < hooks.size(); ++i) {
    if (auto status = RunHook(NameOf(kind, i, hooks[i]), hooks[i], state, namespaces); !status.ok()) return status;
  }
  return absl::OkStatus();
}

std::vector<std::string> RunAllHooks(const char* kind, const std::vector<spec::Hook>& hooks, const std::string& state) {
  std::vector<std::string> failures;
  for (size_t i = 0; i < hooks.size(); ++i) {
    auto status = RunHook(NameOf(kind, i, hooks[i]), hooks[i], state, {});
    if (!status.ok()) failures.emplace_back(status.message());
  }
  return failures;
}

}  // namespace sandbox
