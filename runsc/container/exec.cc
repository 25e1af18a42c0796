#include "runsc/container/exec.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/io/whole_file.h"
#include "runsc/cgroup/cgroup.h"
#include "runsc/cgroup/files.h"
#include "runsc/cli/title.h"
#include "runsc/container/console.h"
#include "runsc/container/container.h"
#include "runsc/control/message.h"
#include "runsc/sandbox/stand_in.h"

namespace sandbox {
namespace {

using control::Message;
using Kind = control::Message::Kind;

constexpr char kExecName[] = "runsc-exec";

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::StatusOr<UniqueFd> MemoryFile(const std::string& text) {
  auto file = MemoryFileWith("exec", text);
  if (file.ok()) return *std::move(file);
  return absl::InternalError(absl::StrCat("exec: ", std::strerror(file.error().value())));
}

// Asks the sentry to start the process; afterwards `connection` is its stand-in's.
absl::Status StartProcess(BorrowedFd connection, const std::string& container, const spec::Process& process,
                          std::vector<BorrowedFd> streams) {
  auto document = MemoryFile(spec::ToJson(process));
  if (!document.ok()) return document.status();
  streams.insert(streams.begin(), document->borrow());
  auto answer = control::Call(connection, {Kind::kExec, 0, "", container}, streams);
  if (absl::IsOutOfRange(answer.status())) return absl::FailedPreconditionError("container not running");
  return answer.status();
}

// A closed stream of ours is /dev/null there: descriptors cannot be passed with gaps.
absl::StatusOr<std::vector<BorrowedFd>> Streams(BorrowedFd terminal, BorrowedFd null, int preserved) {
  std::vector<BorrowedFd> fds;
  for (int fd = 0; fd < 3; ++fd) {
    fds.push_back(terminal.valid() ? terminal : ::fcntl(fd, F_GETFD) < 0 ? null : BorrowedFd(fd));
  }
  for (int fd = 3; fd < 3 + preserved; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0)
      return absl::InvalidArgumentError(absl::StrCat("please check that preserved-fd ", fd, " is present"));
    fds.emplace_back(fd);
  }
  return fds;
}

struct Request {
  UniqueFd connection;
  BorrowedFd terminal, null;
  const ExecOptions& options;
  std::string container;
  cgroup::Cgroup group;
};

// The forked stand-in: starts the process, says how that went on `report`, and stands for it.
[[noreturn]] void StandInChild(Request request, BorrowedFd report) {
  ::setsid();
  ::prctl(PR_SET_NAME, kExecName, 0, 0, 0);
  cli::SetTitle(request.options.process.args);
  StandIn stand_in(std::move(request.connection), {}, {});
  absl::Status status = request.group.Add(::getpid());
  if (status.ok()) status = request.group.AddStandIn(::getpid());
  if (status.ok()) status = stand_in.Prepare(request.terminal);
  if (status.ok()) {
    auto streams = Streams(request.terminal, request.null, request.options.preserve_fds);
    status = streams.ok() ? StartProcess(stand_in.connection(), request.container, request.options.process, *streams)
                          : streams.status();
  }
  (void)control::Send(
      report, {status.ok() ? Kind::kOk : Kind::kFailed, control::ExitCodeOf(status), std::string(status.message())});
  if (!status.ok()) ::_exit(1);
  // Whoever reads the process's output waits for the process, not for us.
  for (int fd = 0; fd < 3; ++fd) ::dup2(request.null.get(), fd);
  stand_in.CloseOthers();
  (void)!::chdir("/");
  ::_exit(stand_in.Run());
}

absl::StatusOr<pid_t> ForkStandIn(Request request) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return Failed("socketpair");
  UniqueFd ours(pair[0]), theirs(pair[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return Failed("fork");
  if (pid == 0) {
    ours.reset();
    StandInChild(std::move(request), theirs.borrow());
  }
  theirs.reset();
  auto report = control::Receive(ours.borrow());
  if (!report.ok()) return absl::InternalError("the process's stand-in died");
  if (report->kind == Kind::kOk) return pid;
  ::waitpid(pid, nullptr, 0);
  return control::WithExitCode(absl::InternalError(report->text), report->number);
}

absl::StatusOr<int> RunHere(Request request) {
  StandIn stand_in(std::move(request.connection), {}, {});
  if (auto status = stand_in.Prepare({}); !status.ok()) return status;
  auto streams = Streams({}, request.null, request.options.preserve_fds);
  if (!streams.ok()) return streams.status();
  if (auto status = StartProcess(stand_in.connection(), request.container, request.options.process, *streams);
      !status.ok())
    return status;
  if (!request.options.pid_file.empty()) {
    if (auto status = WritePidFile(request.options.pid_file, ::getpid()); !status.ok()) return status;
  }
  return stand_in.Run();
}

absl::StatusOr<int> ServeTerminal(pid_t stand_in, BorrowedFd master) {
  const UniqueFd until(static_cast<int>(::syscall(SYS_pidfd_open, stand_in, 0)));
  if (auto status = ServeForeground(master, until.borrow(), [&](int signo) { ::kill(stand_in, signo); }); !status.ok())
    return status;
  int status = 0;
  if (::waitpid(stand_in, &status, 0) < 0) return Failed("waitpid");
  return ExitCodeOfWait(status);
}

}  // namespace

absl::StatusOr<int> ExecInContainer(const ContainerDir& dir, const ContainerState& state, const ExecOptions& options) {
  switch (CurrentStatus(state)) {
    case Status::kStopped:
      return absl::FailedPreconditionError("cannot exec in a stopped container: container not running");
    case Status::kCreating:
      return absl::FailedPreconditionError("cannot exec in a container that is being created");
    case Status::kPaused:
      if (!options.ignore_paused)
        return absl::FailedPreconditionError("cannot exec in a paused container (use --ignore-paused to override)");
      break;
    default:
      break;
  }
  if (auto status = CheckConsole(options.process, options.console_socket, options.detach); !status.ok()) return status;
  auto connection = dir.Connect(state);
  if (!connection.ok()) return connection.status();
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  Pty pty;
  if (options.process.terminal) {
    auto made = OpenPty(options.process);
    if (!made.ok()) return made.status();
    pty = *std::move(made);
    if (!options.console_socket.empty()) {
      if (auto status = SendConsole(options.console_socket, pty.master.borrow()); !status.ok()) return status;
    }
  }
  Request request{*std::move(connection),
                  pty.slave.borrow(),
                  null.borrow(),
                  options,
                  state.id,
                  cgroup::Cgroup::Existing(state.cgroups)};
  if (!options.detach && !options.process.terminal) return RunHere(std::move(request));
  auto stand_in = ForkStandIn(std::move(request));
  if (!stand_in.ok()) return stand_in.status();
  if (!options.pid_file.empty()) {
    if (auto status = WritePidFile(options.pid_file, *stand_in); !status.ok()) {
      ::kill(*stand_in, SIGKILL);
      return status;
    }
  }
  if (options.detach) return 0;
  pty.slave.reset();
  return ServeTerminal(*stand_in, options.console_socket.empty() ? pty.master.borrow() : BorrowedFd());
}

std::vector<pid_t> StandIns(const ContainerState& state) {
  std::vector<pid_t> pids = {state.container.pid};
  for (const pid_t pid : cgroup::Cgroup::Existing(state.cgroups).Processes()) {
    const auto name = cgroup::ReadFile(absl::StrCat("/proc/", pid, "/comm"));
    if (name.ok() && *name == absl::StrCat(kExecName, "\n")) pids.push_back(pid);
  }
  return pids;
}

absl::Status RunHookInside(const ContainerDir& dir, const ContainerState& state, const spec::Hook& hook) {
  auto connection = dir.Connect(state);
  if (!connection.ok()) return connection.status();
  auto input = MemoryFile(HookState(state, Status::kCreated));
  if (!input.ok()) return input.status();
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  spec::Process process;
  process.args = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  process.args[0] = hook.path;
  process.env = hook.env;
  process.capabilities =
      spec::Capabilities{spec::AllCapabilityNames(), spec::AllCapabilityNames(), {}, spec::AllCapabilityNames(), {}};
  if (auto status =
          StartProcess(connection->borrow(), state.id, process, {input->borrow(), null.borrow(), null.borrow()});
      !status.ok())
    return status;
  const timeval limit = {hook.timeout.value_or(0), 0};
  ::setsockopt(connection->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  auto exited = control::Receive(connection->borrow());
  if (absl::IsUnavailable(exited.status()))
    return absl::DeadlineExceededError(
        absl::StrCat(hook.path, ": hook ran past specified timeout of ", limit.tv_sec, "s"));
  if (!exited.ok()) return exited.status();
  if (exited->number == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(hook.path, ": exit code ", ExitCodeOfWait(exited->number)));
}

}  // namespace sandbox
