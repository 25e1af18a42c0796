#include "runsc/sandbox/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/io/whole_file.h"
#include "gofer/protocol/channel.h"
#include "runsc/boot/boot.h"
#include "runsc/control/message.h"
#include "runsc/ns/time.h"
#include "runsc/sandbox/child.h"
#include "runsc/sandbox/foreground.h"
#include "runsc/sandbox/gofer_process.h"
#include "runsc/sandbox/launch.h"
#include "runsc/sandbox/open_trees.h"

namespace sandbox {
namespace {

constexpr int kPrivateNamespaces = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID;
// Host ids of a root-started sentry: nobody. It owns nothing and needs nothing.
constexpr uint32_t kNobody = 65534;

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<std::pair<UniqueFd, UniqueFd>> SocketPair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return Failed("socketpair");
  return std::make_pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

absl::StatusOr<UniqueFd> ConfigFile(const boot::BootConfig& config) {
  auto file = MemoryFileWith("boot-config", boot::ToJson(config));
  if (file.ok()) return *std::move(file);
  return absl::InternalError(absl::StrCat("writing the boot configuration: ", std::strerror(file.error().value())));
}

namespace {

ChildOptions SentryOptions(const boot::BootConfig& config) {
  ChildOptions options{.name = "runsc-sentry"};
  options.namespaces = kPrivateNamespaces | CLONE_NEWUSER | CLONE_NEWCGROUP;
  // A container's own network namespace was entered before.
  const bool own_network = config.container && spec::FindNamespace(config.spec, "network") != nullptr;
  if (config.network != "host" && !own_network) options.namespaces |= CLONE_NEWNET;
  const bool privileged = ::geteuid() == 0 && !config.rootless;
  options.uid_map = {privileged ? ns::IdMap{0, kNobody, 1} : ns::IdMap{::geteuid(), ::geteuid(), 1}};
  options.gid_map = {privileged ? ns::IdMap{0, kNobody, 1} : ns::IdMap{::getegid(), ::getegid(), 1}};
  options.die_with_parent = !config.container;
  return options;
}

bool IsNew(const spec::Spec& spec, std::string_view type) {
  const spec::Namespace* wanted = spec::FindNamespace(spec, type);
  return wanted != nullptr && wanted->path.empty();
}

// The line with id 0 first: that is who the gofer is.
std::vector<ns::IdMap> RootFirst(const std::vector<spec::IdMapping>& mappings) {
  std::vector<ns::IdMap> maps;
  for (const spec::IdMapping& one : mappings) maps.push_back({one.container_id, one.host_id, one.size});
  std::stable_sort(maps.begin(), maps.end(),
                   [](const ns::IdMap& a, const ns::IdMap& b) { return a.inside < b.inside; });
  return maps;
}

absl::StatusOr<UniqueFd> OpenNamespace(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Failed("linux.namespaces: " + path);
  return fd;
}

// Types that the bundle does not name stay the runtime's own. The network is entered before (create.cc); the time is
// the sandbox's (TimeNamespaceOf).
absl::Status AddBundleNamespaces(const spec::Spec& spec, ChildOptions& options) {
  constexpr std::pair<const char*, int> kTypes[] = {{"mount", CLONE_NEWNS},      {"pid", CLONE_NEWPID},
                                                    {"ipc", CLONE_NEWIPC},       {"uts", CLONE_NEWUTS},
                                                    {"cgroup", CLONE_NEWCGROUP}, {"user", CLONE_NEWUSER}};
  for (const auto& [type, flag] : kTypes) {
    const spec::Namespace* ns = spec::FindNamespace(spec, type);
    if (ns == nullptr) continue;
    if (!ns->path.empty()) {
      auto fd = OpenNamespace(ns->path);
      if (!fd.ok()) return fd.status();
      options.join.emplace_back(flag, *std::move(fd));
    } else if (flag != CLONE_NEWUSER) {
      options.namespaces |= flag;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UniqueFd> TimeNamespaceOf(const spec::Spec& spec) {
  const spec::Namespace* time = spec::FindNamespace(spec, "time");
  if (time == nullptr) return UniqueFd();
  if (!time->path.empty()) return OpenNamespace(time->path);
  std::string offsets;
  for (const auto& [clock, offset] : spec.linux_.time_offsets) {
    absl::StrAppend(&offsets, clock, " ", offset.secs, " ", offset.nanosecs, "\n");
  }
  return ns::NewTimeNamespace(offsets);
}

absl::StatusOr<ChildOptions> GoferOptions(const boot::BootConfig& config) {
  ChildOptions options{.name = "runsc-gofer"};
  if (!config.container) {
    options.namespaces = kPrivateNamespaces | CLONE_NEWNET;
  } else if (auto status = AddBundleNamespaces(config.spec, options); !status.ok()) {
    return status;
  }
  if (IsNew(config.spec, "user") && !config.spec.linux_.uid_mappings.empty() &&
      !config.spec.linux_.gid_mappings.empty()) {
    // Owners of files are then the container's ids, and what the gofer may do with files is what they may.
    options.namespaces |= CLONE_NEWUSER;
    options.uid_map = RootFirst(config.spec.linux_.uid_mappings);
    options.gid_map = RootFirst(config.spec.linux_.gid_mappings);
  } else if (spec::FindNamespace(config.spec, "user") == nullptr && (::geteuid() != 0 || config.rootless)) {
    options.namespaces |= CLONE_NEWUSER;
    options.uid_map = {ns::IdMap{::geteuid(), ::geteuid(), 1}};
    options.gid_map = {ns::IdMap{::getegid(), ::getegid(), 1}};
  }
  options.die_with_parent = !config.container;
  return options;
}

void CompleteConfig(SandboxOptions& options) {
  boot::BootConfig& config = options.config;
  config.gofer_connections = 1;
  config.root_tree_read_only = options.trees[0].readonly;
  for (const auto& [name, fd] : options.cgroup_files) config.cgroup_files.push_back(name);
  config.cgroup_procs = static_cast<int>(options.cgroup_procs.size());
  config.preserved_fds = static_cast<int>(options.preserved.size());
  for (const HostTree& tree : options.trees) config.exports.push_back(tree.destination);
}

void KillAndReap(pid_t& pid) {
  if (pid < 0) return;
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid = -1;
}

namespace {

// What a container's sentry and gofer get besides what every sandbox has.
struct ContainerFds {
  UniqueFd sentry_stand_in, gofer_stand_in;
};

void AddContainerFds(ChildOptions& sentry, const SandboxOptions& options, const ContainerFds& fds) {
  sentry.fds.emplace_back(options.listener, boot::kListenerFd);
  sentry.fds.emplace_back(fds.sentry_stand_in.borrow(), boot::kStandInFd);
  if (options.terminal.valid()) {
    for (int stream = 0; stream < 3; ++stream) sentry.fds.emplace_back(options.terminal, stream);
  }
  int next = boot::kCgroupFd;
  for (const auto& [name, fd] : options.cgroup_files) sentry.fds.emplace_back(fd, next++);
  for (const BorrowedFd fd : options.preserved) sentry.fds.emplace_back(fd, next++);
}

}  // namespace

absl::StatusOr<Sandbox> Sandbox::Launch(SandboxOptions options) {
  Sandbox sandbox;
  boot::BootConfig& config = options.config;
  auto boot = SocketPair();
  if (!boot.ok()) return boot.status();
  auto gofer_channel = gofer::Channel::MakePair();
  if (!gofer_channel.ok()) return absl::InternalError("gofer socket pair");
  auto opened = OpenTrees(options.trees);
  if (!opened.ok()) return opened.status();

  CompleteConfig(options);
  auto config_file = ConfigFile(config);
  if (!config_file.ok()) return config_file.status();
  ChildOptions sentry_options = SentryOptions(config);
  sentry_options.place = options.place;
  sentry_options.fds = {{config_file->borrow(), boot::kConfigFd},
                        {boot->second.borrow(), boot::kControlFd},
                        {BorrowedFd(options.log_fd), boot::kLogFd},
                        {gofer_channel->second.borrow(), boot::kGoferFd}};
  GoferStandIn stand_in;
  ContainerFds fds;
  if (config.container) {
    auto pair = SocketPair();
    if (!pair.ok()) return pair.status();
    fds.sentry_stand_in = std::move(pair->first);
    stand_in.connection = std::move(pair->second);
    stand_in.terminal = options.terminal;
    stand_in.record = options.record;
    stand_in.title = config.spec.process.args;
    stand_in.low_ports = config.low_ports;
    AddContainerFds(sentry_options, options, fds);
  }
  auto time = TimeNamespaceOf(config.spec);
  if (!time.ok()) return time.status();
  if (time->valid())
    sentry_options.join.emplace_back(CLONE_NEWTIME, UniqueFd(::fcntl(time->get(), F_DUPFD_CLOEXEC, 0)));
  auto sentry = StartChild(sentry_options, boot::BootMain);
  if (!sentry.ok()) return sentry.status();
  sandbox.sentry_ = *sentry;
  sandbox.boot_ = std::move(boot->first);

  auto gofer_options = GoferOptions(config);
  if (!gofer_options.ok()) return gofer_options.status();
  gofer_options->place = options.place;
  if (time->valid()) gofer_options->join.emplace_back(CLONE_NEWTIME, *std::move(time));
  if (config.container) {
    stand_in.sentry.reset(static_cast<int>(::syscall(SYS_pidfd_open, *sentry, 0)));
    if (!stand_in.sentry.valid()) return Failed("pidfd_open");
  }
  if (options.hooks) {
    if (auto status = sandbox.MakeGate(stand_in.gate); !status.ok()) return status;
  }
  auto gofer = StartGofer(*std::move(gofer_options), *opened, gofer_channel->first.borrow(), options.log_fd,
                          options.trees, config.container ? &stand_in : nullptr);
  if (!gofer.ok()) return gofer.status();
  sandbox.gofer_ = *gofer;
  return sandbox;
}

absl::Status Sandbox::WaitStarted() {
  auto first = control::Receive(boot_.borrow());
  if (!first.ok()) return absl::InternalError("the sentry died before it started the container (see --debug-log)");
  if (first->kind == control::Message::Kind::kStarted) return absl::OkStatus();
  return control::WithExitCode(absl::InternalError(first->text), first->number);
}

absl::Status Sandbox::MakeGate(UniqueFd& gofers_end) {
  auto gate = SocketPair();
  if (!gate.ok()) return gate.status();
  gate_ = std::move(gate->first);
  gofers_end = std::move(gate->second);
  return absl::OkStatus();
}

absl::Status Sandbox::WaitForView() {
  char byte;
  if (::recv(gate_.get(), &byte, 1, 0) == 1) return absl::OkStatus();
  return absl::InternalError("the container's mounts cannot be shown to hooks (see --debug-log)");
}

absl::Status Sandbox::OpenView() {
  const UniqueFd gate = std::move(gate_);
  return ::send(gate.get(), "g", 1, MSG_NOSIGNAL) == 1 ? absl::OkStatus() : Failed("the gofer ended");
}

bool Sandbox::HasReported() const {
  pollfd boot = {boot_.get(), POLLIN, 0};
  return ::poll(&boot, 1, 0) > 0;
}

Sandbox::Sandbox(Sandbox&& other) noexcept
    : boot_(std::move(other.boot_)),
      gate_(std::move(other.gate_)),
      sentry_(std::exchange(other.sentry_, -1)),
      gofer_(std::exchange(other.gofer_, -1)),
      kept_(other.kept_) {}

Sandbox::~Sandbox() {
  if (kept_) return;
  KillAndReap(sentry_);
  KillAndReap(gofer_);
}

absl::StatusOr<int> Sandbox::WaitForeground() {
  auto forwarder = SignalForwarder::Create();
  if (!forwarder.ok()) return forwarder.status();
  return forwarder->ForwardUntilExit(boot_.borrow());
}

absl::Status Sandbox::Keep() {
  auto status = control::Send(boot_.borrow(), {control::Message::Kind::kDetach, 0, ""});
  kept_ = status.ok();
  return status;
}

}  // namespace sandbox
