#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "runsc/cgroup/cgroup.h"
#include "runsc/container/annotations.h"
#include "runsc/container/console.h"
#include "runsc/container/container.h"
#include "runsc/container/hooks.h"
#include "runsc/container/namespaces.h"
#include "runsc/container/oom.h"
#include "runsc/container/pod.h"
#include "runsc/control/message.h"
#include "runsc/ns/network.h"
#include "runsc/sandbox/sandbox.h"
#include "runsc/spec/bundle.h"

namespace sandbox {
namespace {

std::string Now() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::tm utc = {};
  ::gmtime_r(&now.tv_sec, &utc);
  char date[32];
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
  char text[48];
  std::snprintf(text, sizeof(text), "%s.%09ldZ", date, now.tv_nsec);
  return text;
}

absl::Status CheckRoot(const spec::Spec& spec) {
  struct stat st;
  if (::stat(spec.root.path.c_str(), &st) != 0) {
    return absl::NotFoundError(absl::StrCat("root.path: stat ", spec.root.path, ": ", std::strerror(errno)));
  }
  if (!S_ISDIR(st.st_mode)) return absl::InvalidArgumentError("root.path: " + spec.root.path + ": not a directory");
  return absl::OkStatus();
}

// Resolved as the container would. Those inside other mounts are for the sentry to make.
bool HasMountPoints(const spec::Spec& spec) {
  const UniqueFd root(::open(spec.root.path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return false;
  const auto within_another = [&](const spec::Mount& mount) {
    return std::any_of(spec.mounts.begin(), spec.mounts.end(), [&](const spec::Mount& other) {
      return mount.destination.rfind(other.destination + "/", 0) == 0;
    });
  };
  for (const spec::Mount& mount : spec.mounts) {
    if (within_another(mount)) continue;
    open_how how = {};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const UniqueFd point(
        static_cast<int>(::syscall(SYS_openat2, root.get(), mount.destination.c_str(), &how, sizeof(how))));
    if (!point.valid()) return false;
  }
  return true;
}

// A system with systemd has this folder (sd_booted(3)).
absl::Status CheckCgroupManager(const cli::GlobalOptions& global, const spec::Spec& spec) {
  const bool slice = spec.linux_.cgroups_path.find(':') != std::string::npos;
  if (!global.systemd_cgroup && !slice) return absl::OkStatus();
  if (::access("/run/systemd/system", F_OK) != 0) {
    return absl::FailedPreconditionError("systemd not running on this host, cannot use systemd cgroups manager");
  }
  return absl::UnimplementedError("systemd cgroups are not supported: use the engine's cgroupfs driver");
}

// How many descriptors from 3 on a service manager opened for this process to hand on (sd_listen_fds(3)).
int ListenFds() {
  const char *pid = std::getenv("LISTEN_PID"), *fds = std::getenv("LISTEN_FDS");
  int meant_for, count;
  if (pid == nullptr || fds == nullptr || !absl::SimpleAtoi(pid, &meant_for) || !absl::SimpleAtoi(fds, &count))
    return 0;
  return meant_for == ::getpid() ? std::max(count, 0) : 0;
}

// Descriptors 3… of runsc, for --preserve-fds and socket activation.
absl::StatusOr<std::vector<BorrowedFd>> Preserved(int count) {
  std::vector<BorrowedFd> fds;
  for (int fd = 3; fd < 3 + count; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0)
      return absl::InvalidArgumentError(absl::StrCat("please check that preserved-fd ", fd, " is present"));
    fds.emplace_back(fd);
  }
  return fds;
}

// A private mount is not told of what the host does to the folder's mounts later.
TreeMounts MountsOf(const spec::Mount& mount) {
  auto mounts = TreeMounts::kFollow;
  bool recursive = false;
  for (const std::string& option : mount.options) {
    recursive = recursive || option == "rbind";
    if (option == "private" || option == "rprivate" || option == "unbindable" || option == "runbindable")
      mounts = TreeMounts::kCopyOne;
    if (option == "shared" || option == "rshared" || option == "slave" || option == "rslave")
      mounts = TreeMounts::kFollow;
  }
  return mounts == TreeMounts::kCopyOne && recursive ? TreeMounts::kCopyAll : mounts;
}

// Whether any process of the container can have the capability for ports below 1024.
bool MayBindLowPorts(const spec::Process& process) {
  if (!process.capabilities) return true;
  const std::vector<std::string>& bounding = process.capabilities->bounding;
  return std::find(bounding.begin(), bounding.end(), "CAP_NET_BIND_SERVICE") != bounding.end();
}

// One creation under way: everything made so far is undone unless it is released.
class Creation {
 public:
  Creation(const cli::GlobalOptions& global, const CreateOptions& options, spec::Bundle bundle, ContainerDir dir)
      : global_(global), options_(options), dir_(std::move(dir)) {
    state_.id = options.id;
    state_.bundle = bundle.path;
    state_.created = Now();
    state_.owner = ::geteuid();
    state_.creator = Identify(::getpid());
    state_.spec = std::move(bundle.spec);
  }
  ~Creation() {
    if (!done_) (void)dir_.Remove(state_.upper);
  }

  absl::StatusOr<Created> Run();

 private:
  absl::Status Configure();
  absl::Status ChooseUpper();
  absl::Status PlanCgroup();
  absl::Status MakeCgroup();
  absl::Status MakeTerminal();
  absl::Status FindSandbox();
  absl::Status Launch();
  absl::Status LaunchSandbox(SandboxOptions launch);
  absl::Status WaitStarted();
  absl::Status RunCreateHooks();
  SandboxOptions LaunchOptions();

  const cli::GlobalOptions& global_;
  const CreateOptions& options_;
  ContainerDir dir_;
  ContainerState state_;
  boot::BootConfig config_;
  cgroup::Cgroup cgroup_ = cgroup::Cgroup::Existing({});
  Pty pty_;
  UniqueFd listener_, record_, log_;
  std::map<std::string, UniqueFd> cgroup_values_;
  std::vector<UniqueFd> cgroup_processes_;
  std::optional<ContainerState> pod_;  // of the container whose sandbox this one joins
  std::optional<ns::NetworkNamespace> network_;
  std::optional<Sandbox> sandbox_;
  bool done_ = false;
};

absl::Status Creation::Configure() {
  config_.id = state_.id;
  config_.spec = state_.spec;
  config_.container = true;
  config_.pod = IsPod(state_.spec.annotations);
  config_.platform = global_.platform;
  config_.network = global_.network.empty() ? "host" : global_.network;
  config_.overlay = options_.overlay;
  config_.strace = global_.strace;
  config_.rewrite = global_.rewrite == "on";
  config_.debug = global_.debug;
  config_.json_log = global_.log_format == "json";
  config_.rootless = global_.rootless == "true";
  if (auto status = ApplyAnnotations(state_.spec.annotations, config_); !status.ok()) return status;
  if (auto status = ChooseUpper(); !status.ok()) return status;
  if (const int count = ListenFds(); count > 0) {
    auto& env = config_.spec.process.env;
    env.insert(env.end(), {absl::StrCat("LISTEN_FDS=", count), "LISTEN_PID=1"});
  }
  if (state_.spec.linux_.resources) config_.limits = GuestLimits(*state_.spec.linux_.resources);
  state_.network = config_.network;
  state_.platform = config_.platform;
  return absl::OkStatus();
}

// The sentry has nothing to do with an overlay of the host's.
absl::Status Creation::ChooseUpper() {
  constexpr std::string_view kDir = "dir", kBelow = "dir:";
  const std::string overlay = std::exchange(config_.overlay, "none");
  if (overlay == kDir) {
    state_.upper = dir_.overlay_folder();
  } else if (overlay.rfind(kBelow, 0) == 0 && overlay.size() > kBelow.size() && overlay[kBelow.size()] == '/') {
    state_.upper = overlay.substr(kBelow.size()) + "/" + state_.id;
  } else if (overlay == "none" || overlay == "memory") {
    config_.overlay = overlay;
  } else {
    return absl::InvalidArgumentError("--overlay: \"" + overlay + "\" is not none, memory, dir or dir:/PATH");
  }
  // Made anew: it is removed with the container.
  const std::string upper = std::exchange(state_.upper, "");
  if (!upper.empty() && ::mkdir(upper.c_str(), 0700) != 0)
    return absl::InternalError(absl::StrCat("--overlay: mkdir ", upper, ": ", std::strerror(errno)));
  state_.upper = upper;
  return absl::OkStatus();
}

// So that the state names them before they are there.
absl::Status Creation::PlanCgroup() {
  if (auto status = CheckCgroupManager(global_, state_.spec); !status.ok()) return status;
  auto planned = cgroup::Cgroup::Plan(state_.spec.linux_.cgroups_path, state_.id,
                                      state_.spec.linux_.resources.value_or(spec::Resources()));
  if (!planned.ok()) return planned.status();
  cgroup_ = *std::move(planned);
  state_.cgroups = cgroup_.folders();
  return absl::OkStatus();
}

absl::Status Creation::MakeCgroup() {
  if (auto status = cgroup_.Make(); !status.ok()) return status;
  state_.cgroups = cgroup_.folders();
  cgroup_values_ = cgroup_.OpenValues();
  config_.cgroup_unified = cgroup_.empty() || cgroup_.unified();
  if (state_.spec.linux_.resources) return cgroup_.Apply(*state_.spec.linux_.resources);
  return absl::OkStatus();
}

absl::Status Creation::MakeTerminal() {
  if (!state_.spec.process.terminal) return absl::OkStatus();
  auto pty = OpenPty(state_.spec.process);
  if (!pty.ok()) return pty.status();
  pty_ = *std::move(pty);
  if (options_.console_socket.empty()) return absl::OkStatus();
  return SendConsole(options_.console_socket, pty_.master.borrow());
}

SandboxOptions Creation::LaunchOptions() {
  SandboxOptions launch;
  launch.config = config_;
  // A read-only root whose mount points are all there is read-only for the gofer too; else the sentry makes them first.
  const bool keeps_root = config_.overlay == "memory" || (state_.spec.root.readonly && HasMountPoints(state_.spec));
  launch.trees = {{state_.spec.root.path, "/", keeps_root, TreeMounts::kFollow, state_.upper}};
  for (const spec::Mount& mount : state_.spec.mounts) {
    if (!spec::IsBind(mount)) continue;
    launch.trees.push_back({mount.source, mount.destination, spec::IsReadOnly(mount), MountsOf(mount), ""});
  }
  // The container's output must not be held open by its sandbox, so without a log file there is no log.
  launch.log_fd = global_.debug_log.empty() ? log_.get() : LogFd();
  launch.listener = listener_.borrow();
  launch.terminal = pty_.slave.borrow();
  for (const auto& [name, fd] : cgroup_values_) launch.cgroup_files.emplace_back(name, fd.borrow());
  for (const UniqueFd& fd : cgroup_processes_) launch.cgroup_procs.push_back(fd.borrow());
  launch.record = record_.borrow();
  launch.hooks = !state_.spec.hooks.create_container.empty();
  launch.place = [this](pid_t pid) {
    SetGuestOomScore(pid, state_.spec.process.oom_score_adj);
    return cgroup_.Add(pid);
  };
  return launch;
}

absl::Status Creation::Launch() {
  log_.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!pod_) {
    auto listener = dir_.Listen();
    if (!listener.ok()) return listener.status();
    listener_ = *std::move(listener);
  }
  auto record = dir_.MakeExitFile();
  if (!record.ok()) return record.status();
  record_ = *std::move(record);
  if (const spec::Namespace* network = spec::FindNamespace(state_.spec, "network"); network != nullptr) {
    auto entered = ns::NetworkNamespace::Enter(network->path);
    if (!entered.ok()) return entered.status();
    network_.emplace(*std::move(entered));
  }
  const bool own_network = network_ && network_->other();
  if (auto status = ApplyNetworkSysctls(state_.spec, own_network); !status.ok()) return status;
  config_.low_ports = config_.network == "host" && !own_network && MayBindLowPorts(state_.spec.process);
  if (pod_) {
    if (auto status = CheckPodNetwork(*pod_); !status.ok()) return status;
    if (auto status = CheckPodTime(*pod_, state_.spec); !status.ok()) return status;
    auto processes = cgroup_.OpenProcesses();
    if (!processes.ok()) return processes.status();
    cgroup_processes_ = *std::move(processes);
  }
  SandboxOptions launch = LaunchOptions();
  auto preserved = Preserved(ListenFds() + options_.preserve_fds);
  if (!preserved.ok()) return preserved.status();
  launch.preserved = *preserved;
  if (auto status = LaunchSandbox(std::move(launch)); !status.ok()) {
    return status;
  }
  return network_ ? network_->Leave() : absl::OkStatus();
}

absl::Status Creation::LaunchSandbox(SandboxOptions launch) {
  absl::StatusOr<UniqueFd> control;
  if (pod_ && !(control = dir_.Connect(state_)).ok()) return control.status();
  auto sandbox = pod_ ? Sandbox::Join(std::move(launch), *std::move(control)) : Sandbox::Launch(std::move(launch));
  if (!sandbox.ok()) return sandbox.status();
  sandbox_.emplace(*std::move(sandbox));
  state_.sentry = pod_ ? pod_->sentry : Identify(sandbox_->sentry());
  state_.container = Identify(sandbox_->gofer());
  return absl::OkStatus();
}

// A container that asks for the sandbox of another must not get one of its own.
absl::Status Creation::FindSandbox() {
  state_.sandbox = PodOf(state_.spec.annotations);
  if (state_.sandbox.empty()) return absl::OkStatus();
  auto pod = FindPod(global_.root, state_.sandbox);
  if (!pod.ok()) return pod.status();
  pod_ = *std::move(pod);
  state_.network = pod_->network;
  state_.platform = pod_->platform;
  return ShareNamespaces(global_.root, *pod_, state_.spec, config_);
}

absl::Status Creation::WaitStarted() {
  if (auto status = sandbox_->WaitStarted(); !status.ok()) return status;
  if (!pod_) ProtectFromOom(state_.sentry.pid);
  ProtectFromOom(state_.container.pid);
  return cgroup_.AddStandIn(state_.container.pid);
}

absl::Status Creation::RunCreateHooks() {
  const spec::Hooks& hooks = state_.spec.hooks;
  if (hooks.prestart.empty() && hooks.create_runtime.empty() && hooks.create_container.empty()) return absl::OkStatus();
  const std::string document = HookState(state_, Status::kCreated);
  auto status = RunHooks("prestart", hooks.prestart, document);
  if (status.ok()) status = RunHooks("createRuntime", hooks.create_runtime, document);
  if (status.ok() && !hooks.create_container.empty()) {
    status = sandbox_->WaitForView();
    if (status.ok()) status = RunHooks("createContainer", hooks.create_container, document, state_.container.pid);
    if (status.ok()) status = sandbox_->OpenView();
  }
  // The sandbox boots meanwhile. When it cannot (no such program, say), hooks miss its processes: that is no reason to
  // report.
  if (!status.ok() && sandbox_->HasReported()) {
    if (auto started = WaitStarted(); !started.ok()) return started;
  }
  return status;
}

absl::StatusOr<Created> Creation::Run() {
  if (auto status = Configure(); !status.ok()) return status;
  if (auto status = FindSandbox(); !status.ok()) return status;
  if (config_.share_uts.empty()) {
    if (auto status = CompleteNames(config_.spec); !status.ok()) return status;
  }
  if (auto status = PlanCgroup(); !status.ok()) return status;
  if (auto status = dir_.Save(state_); !status.ok()) return status;
  Cleanup remove_cgroup([&] { (void)cgroup_.Remove(); });
  if (auto status = MakeCgroup(); !status.ok()) return status;
  if (auto status = MakeTerminal(); !status.ok()) return status;
  if (auto status = Launch(); !status.ok()) return status;
  // From here on, processes are to be found by whoever cleans up after a killed runsc.
  Cleanup end_sandbox([&] { sandbox_.reset(); });
  if (auto status = dir_.Save(state_); !status.ok()) return status;
  if (auto status = RunCreateHooks(); !status.ok()) return status;
  if (auto status = WaitStarted(); !status.ok()) return status;
  if (!options_.pid_file.empty()) {
    if (auto status = WritePidFile(options_.pid_file, state_.container.pid); !status.ok()) return status;
  }
  state_.status = Status::kCreated;
  if (auto status = dir_.Save(state_); !status.ok()) return status;
  if (auto status = sandbox_->Keep(); !status.ok()) return status;
  end_sandbox.Release();
  remove_cgroup.Release();
  done_ = true;
  return Created{std::move(dir_), std::move(state_), options_.foreground ? std::move(pty_.master) : UniqueFd()};
}

}  // namespace

absl::StatusOr<Created> CreateContainer(const cli::GlobalOptions& global, const CreateOptions& options) {
  if (auto status = spec::CheckContainerId(options.id); !status.ok()) return status;
  auto bundle = spec::LoadBundle(options.bundle);
  if (!bundle.ok()) return bundle.status();
  if (auto status = CheckNamespaces(bundle->spec); !status.ok()) return status;
  if (auto status = CheckRoot(bundle->spec); !status.ok()) return status;
  if (auto status = CheckConsole(bundle->spec.process, options.console_socket, !options.foreground); !status.ok())
    return status;
  auto dir = ContainerDir::Create(global.root, options.id);
  if (!dir.ok()) return dir.status();
  return Creation(global, options, *std::move(bundle), *std::move(dir)).Run();
}

absl::Status WritePidFile(const std::string& path, pid_t pid) {
  const std::string text = std::to_string(pid), temporary = absl::StrCat(path, ".", pid, ".tmp");
  const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(temporary.c_str(), path.c_str()) != 0) {
    auto status = absl::InternalError(absl::StrCat("pid file ", path, ": ", std::strerror(errno)));
    ::unlink(temporary.c_str());
    return status;
  }
  return absl::OkStatus();
}

CgroupLimits GuestLimits(const spec::Resources& resources) {
  CgroupLimits limits;
  if (resources.memory && resources.memory->limit.value_or(0) > 0) {
    limits.memory_bytes = static_cast<uint64_t>(*resources.memory->limit);
    // The bundle's swap limit includes memory.
    const int64_t both = resources.memory->swap.value_or(0);
    if (both > 0) limits.swap_bytes = static_cast<uint64_t>(std::max<int64_t>(both - *resources.memory->limit, 0));
  }
  if (resources.memory)
    limits.memory_reservation_bytes =
        static_cast<uint64_t>(std::max<int64_t>(resources.memory->reservation.value_or(0), 0));
  if (resources.pids && resources.pids->limit > 0) {
    limits.pids = static_cast<int32_t>(std::min<int64_t>(resources.pids->limit, INT32_MAX));
  }
  if (resources.cpu) {
    limits.cpu_quota_us = static_cast<uint64_t>(std::max<int64_t>(resources.cpu->quota.value_or(0), 0));
    if (resources.cpu->period.value_or(0) != 0) limits.cpu_period_us = *resources.cpu->period;
    if (resources.cpu->shares.value_or(0) != 0) limits.cpu_shares = *resources.cpu->shares;
  }
  return limits;
}

}  // namespace sandbox
