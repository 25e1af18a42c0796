#include "runsc/sandbox/sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gofer/protocol/channel.h"
#include "runsc/boot/boot.h"
#include "runsc/control/message.h"
#include "runsc/sandbox/child.h"
#include "runsc/sandbox/foreground.h"
#include "runsc/sandbox/gofer_process.h"

namespace sandbox {
namespace {

constexpr int kPrivateNamespaces = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID;
// Host ids of a root-started sentry: nobody. It owns nothing and needs nothing.
constexpr uint32_t kNobody = 65534;
constexpr char kExitCodeUrl[] = "runsc/exit-code";

absl::Status Failed(const std::string& what) { return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno))); }

absl::StatusOr<std::pair<UniqueFd, UniqueFd>> SocketPair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return Failed("socketpair");
  return std::make_pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

// The configuration as a descriptor the sentry reads: a memory file, so that no size can block the writer.
absl::StatusOr<UniqueFd> ConfigFile(const boot::BootConfig& config) {
  UniqueFd fd(::memfd_create("boot-config", MFD_CLOEXEC));
  const std::string text = boot::ToJson(config);
  if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::lseek(fd.get(), 0, SEEK_SET) != 0) {
    return Failed("writing the boot configuration");
  }
  return fd;
}

ChildOptions SentryOptions(const boot::BootConfig& config) {
  ChildOptions options{.name = "runsc-sentry"};
  options.namespaces = kPrivateNamespaces | CLONE_NEWUSER | CLONE_NEWCGROUP;
  if (config.network != "host") options.namespaces |= CLONE_NEWNET;
  const bool privileged = ::geteuid() == 0 && !config.rootless;
  options.uid_map = privileged ? ns::IdMap{0, kNobody, 1} : ns::IdMap{::geteuid(), ::geteuid(), 1};
  options.gid_map = privileged ? ns::IdMap{0, kNobody, 1} : ns::IdMap{::getegid(), ::getegid(), 1};
  return options;
}

ChildOptions GoferOptions(const boot::BootConfig& config) {
  ChildOptions options{.name = "runsc-gofer"};
  options.namespaces = kPrivateNamespaces | CLONE_NEWNET;
  if (::geteuid() != 0 || config.rootless) {
    options.namespaces |= CLONE_NEWUSER;
    options.uid_map = ns::IdMap{::geteuid(), ::geteuid(), 1};
    options.gid_map = ns::IdMap{::getegid(), ::getegid(), 1};
  }
  return options;
}

void KillAndReap(pid_t& pid) {
  if (pid < 0) return;
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid = -1;
}

}  // namespace

absl::StatusOr<Sandbox> Sandbox::Start(boot::BootConfig config, const std::vector<HostTree>& trees, int log_fd) {
  Sandbox sandbox;
  auto control = SocketPair();
  if (!control.ok()) return control.status();
  auto gofer_channel = gofer::Channel::MakePair();
  if (!gofer_channel.ok()) return absl::InternalError("gofer socket pair");
  auto opened = OpenTrees(trees);
  if (!opened.ok()) return opened.status();

  ChildOptions gofer_options = GoferOptions(config);
  auto gofer = StartGofer(gofer_options, *opened, gofer_channel->first.borrow(), log_fd);
  if (!gofer.ok()) return gofer.status();
  sandbox.gofer_ = *gofer;
  gofer_channel->first.reset();

  config.gofer_connections = 1;
  for (const HostTree& tree : trees) config.exports.push_back(tree.destination);
  auto config_file = ConfigFile(config);
  if (!config_file.ok()) return config_file.status();
  ChildOptions sentry_options = SentryOptions(config);
  sentry_options.fds = {{config_file->borrow(), boot::kConfigFd},
                        {control->second.borrow(), boot::kControlFd},
                        {BorrowedFd(log_fd), boot::kLogFd},
                        {gofer_channel->second.borrow(), boot::kGoferFd}};
  auto sentry = StartChild(sentry_options, boot::BootMain);
  if (!sentry.ok()) return sentry.status();
  sandbox.sentry_ = *sentry;
  control->second.reset();
  sandbox.control_ = std::move(control->first);

  auto first = control::Receive(sandbox.control_.borrow());
  if (!first.ok()) return absl::InternalError("the sentry died before it started the container (see --debug-log)");
  if (first->kind == control::Message::Kind::kStarted) return sandbox;
  absl::Status failure = absl::InternalError(first->text);
  failure.SetPayload(kExitCodeUrl, absl::Cord(absl::StrCat(first->number)));
  return failure;
}

Sandbox::Sandbox(Sandbox&& other) noexcept
    : control_(std::move(other.control_)), sentry_(std::exchange(other.sentry_, -1)), gofer_(std::exchange(other.gofer_, -1)) {}

Sandbox::~Sandbox() {
  KillAndReap(sentry_);
  KillAndReap(gofer_);
}

absl::StatusOr<int> Sandbox::WaitForeground() {
  auto forwarder = SignalForwarder::Create();
  if (!forwarder.ok()) return forwarder.status();
  return forwarder->ForwardUntilExit(control_.borrow());
}

int Sandbox::ExitCodeOf(const absl::Status& status) {
  int code = 1;
  if (const auto payload = status.GetPayload(kExitCodeUrl)) (void)absl::SimpleAtoi(std::string(*payload), &code);
  return code;
}

}  // namespace sandbox
