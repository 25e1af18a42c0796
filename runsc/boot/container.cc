#include "runsc/boot/container.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "runsc/boot/scheduling.h"
#include "runsc/boot/seccomp_profile.h"
#include "runsc/control/message.h"
#include "sentry/fs/devpts/devpts_fs.h"
#include "sentry/fs/devpts/host_tty.h"
#include "sentry/fs/host/host_file.h"
#include "sentry/vfs/walk.h"

namespace sandbox::boot {
namespace {

using control::WithExitCode;

absl::StatusOr<CredentialsRef> MakeCredentials(const spec::Process& process) {
  auto creds = std::make_shared<Credentials>();
  creds->uid = creds->euid = creds->suid = creds->fsuid = process.user.uid;
  creds->gid = creds->egid = creds->sgid = creds->fsgid = process.user.gid;
  creds->groups = process.user.additional_gids;
  creds->bounding = kAllCapabilities;
  if (process.capabilities) {
    const std::pair<CapabilitySet*, const std::vector<std::string>*> sets[] = {
        {&creds->permitted, &process.capabilities->permitted},
        {&creds->effective, &process.capabilities->effective},
        {&creds->inheritable, &process.capabilities->inheritable},
        {&creds->bounding, &process.capabilities->bounding},
        {&creds->ambient, &process.capabilities->ambient}};
    for (const auto& [set, names] : sets) {
      auto mask = spec::CapabilityMask(*names);
      if (!mask.ok()) return mask.status();
      *set = *mask;
    }
  } else if (process.user.uid == 0) {
    creds->permitted = creds->effective = kAllCapabilities;
  }
  return CredentialsRef(creds);
}

absl::StatusOr<LimitSet> MakeLimits(const spec::Process& process) {
  LimitSet limits = DefaultLimits();
  for (const spec::Rlimit& limit : process.rlimits) {
    auto number = spec::RlimitNumber(limit.type);
    if (!number.ok()) return number.status();
    limits[*number] = Limit{limit.soft, limit.hard};
  }
  return limits;
}

// The node of the container's devpts that stands for the terminal, made if need be; an empty path without a devpts.
Path NodeOf(const MountNamespace& mounts, const RefPtr<HostTerminal>& terminal) {
  const WalkBase base{mounts.root(), mounts.root()};
  const auto folder = Walk(KernelContext(), base, "/dev/pts", {});
  const auto devpts = folder.ok() ? std::dynamic_pointer_cast<DevptsFs>(folder->inode()->fs()) : nullptr;
  if (devpts == nullptr) return {};
  if (!terminal->shown() && !devpts->Show(terminal).ok()) return {};
  auto node = Walk(KernelContext(), base, absl::StrCat("/dev/pts/", minor(terminal->device())), {});
  return node.ok() ? *std::move(node) : Path{};
}

// Donated descriptors as the process's 0, 1, 2, … An invalid one stays closed.
absl::StatusOr<RefPtr<FdTable>> MakeFds(std::vector<UniqueFd> streams, const MountNamespace& mounts,
                                        RefPtr<ControllingTerminal>& terminal) {
  auto table = MakeRef<FdTable>();
  for (size_t fd = 0; fd < streams.size(); ++fd) {
    if (!streams[fd].valid()) continue;
    auto file = OpenDonated(std::move(streams[fd]));
    if (!file.ok())
      return absl::InternalError(absl::StrCat("descriptor ", fd, ": ", std::strerror(file.error().value())));
    if (const RefPtr<HostTerminal> tty = DonatedTerminal(*file)) {
      if (terminal == nullptr && fd < 3) terminal = tty;
      // By the name that the guest knows it by.
      const Path node = NodeOf(mounts, tty);
      if (!node.empty()) file = tty->OpenTerminal(KernelContext(), node, (*file)->flags());
      if (!file.ok())
        return absl::InternalError(absl::StrCat("descriptor ", fd, ": ", std::strerror(file.error().value())));
    }
    auto installed = table->InstallAt(KernelContext(), Fd(static_cast<int>(fd)), *file, /*close_on_exec=*/false);
    if (!installed.ok()) return absl::InternalError(absl::StrCat("descriptor ", fd));
  }
  return table;
}

// The texts are those containerd, Docker and Podman look for.
absl::Status StartFailure(const std::string& program, const std::string& cwd, Errno error) {
  switch (error.value()) {
    case ENOENT:
      if (program.find('/') == std::string::npos) {
        return WithExitCode(
            absl::NotFoundError(absl::StrCat("exec: \"", program, "\": executable file not found in $PATH")),
            kExitNotFound);
      }
      return WithExitCode(
          absl::NotFoundError(absl::StrCat("exec: \"", program, "\": stat ", program, ": no such file or directory")),
          kExitNotFound);
    case EACCES:
      return WithExitCode(absl::PermissionDeniedError(absl::StrCat("exec: \"", program, "\": permission denied")),
                          kExitNotExecutable);
    case ENOEXEC:
      return WithExitCode(absl::InternalError(absl::StrCat("exec: \"", program, "\": exec format error")),
                          kExitNotExecutable);
    default:
      return absl::InternalError(
          absl::StrCat("starting \"", program, "\" in ", cwd, ": ", std::strerror(error.value())));
  }
}

absl::StatusOr<CreateProcessArgs> MakeArgs(const spec::Process& process, const ContainerPlace& place,
                                           const RefPtr<MountNamespace>& mounts, std::vector<UniqueFd> streams) {
  CreateProcessArgs args;
  args.mounts = mounts;
  args.pids = place.pids;
  args.cgroup = place.cgroup;
  args.ipc = place.ipc;
  args.uts = place.uts;
  args.filename = process.args[0];
  args.argv = process.args;
  args.envv = process.env;
  args.cwd = process.cwd;
  args.umask = process.user.umask.value_or(022);
  auto creds = MakeCredentials(process);
  if (!creds.ok()) return creds.status();
  args.creds = *creds;
  args.no_new_privs = process.no_new_privileges;
  args.oom_score_adj = process.oom_score_adj.value_or(0);
  auto limits = MakeLimits(process);
  if (!limits.ok()) return limits.status();
  args.limits = *limits;
  auto fds = MakeFds(std::move(streams), *mounts, args.terminal);
  if (!fds.ok()) return fds.status();
  args.fds = *fds;
  return args;
}

absl::StatusOr<RefPtr<const SeccompFilter>> MakeSeccomp(const std::optional<spec::Seccomp>& profile) {
  if (!profile) return RefPtr<const SeccompFilter>();
  auto program = CompileSeccomp(*profile);
  if (!program.ok()) return program.status();
  auto filter = SeccompFilter::Make(*std::move(program), nullptr, {});
  if (!filter.ok()) return absl::InternalError(absl::StrCat("linux.seccomp: ", std::strerror(filter.error().value())));
  return RefPtr<const SeccompFilter>(*filter);
}

// Loads the process; with `hold` somebody else starts it.
absl::StatusOr<HostStarted> Create(Kernel& kernel, const spec::Process& process, const ContainerPlace& place,
                                   CreateProcessArgs args, bool hold) {
  auto scheduling = Scheduling::Of(process, !args.init);
  if (!scheduling.ok()) return scheduling.status();
  scheduling->personality = place.personality;
  const auto terminal = args.terminal;
  const auto seccomp = args.seccomp;
  args.hold = true;
  auto task = kernel.CreateProcess(std::move(args));
  if (!task.ok()) return StartFailure(process.args[0], process.cwd, task.error());
  scheduling->ApplyTo(**task);
  if (!hold) (*task)->thread().Start();
  return HostStarted{*task, terminal, seccomp, place};
}

}  // namespace

std::vector<UniqueFd> TakeStandardStreams(const BootConfig& config) {
  std::vector<UniqueFd> streams;
  for (int fd = 0; fd < 3; ++fd) {
    streams.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (config.container) (void)::dup2(kLogFd, fd);
  }
  const int first_preserved = kCgroupFd + static_cast<int>(config.cgroup_files.size());
  for (int i = 0; i < config.preserved_fds; ++i) streams.emplace_back(first_preserved + i);
  return streams;
}

CgroupHost TakeCgroupFiles(const BootConfig& config) {
  CgroupHost host;
  host.unified = config.cgroup_unified;
  int fd = kCgroupFd;
  for (const std::string& name : config.cgroup_files) host.files[name].reset(fd++);
  return host;
}

ContainerPlace FirstPlace(const Kernel& kernel, const BootConfig& config) {
  // In a pod the first container must not be the parent of the others, whose processes it would see.
  const RefPtr<PidNamespace>& root = kernel.root_pids();
  return {config.pod ? MakeRef<PidNamespace>(root, UserNamespace::Root()) : root, kernel.first_cgroup(), kernel.ipc(),
          kernel.uts()};
}

absl::StatusOr<HostStarted> LoadInit(Kernel& kernel, const BootConfig& config, const ContainerPlace& place,
                                     const RefPtr<MountNamespace>& mounts, std::vector<UniqueFd> streams) {
  auto args = MakeArgs(config.spec.process, place, mounts, std::move(streams));
  if (!args.ok()) return args.status();
  auto seccomp = MakeSeccomp(config.spec.linux_.seccomp);
  if (!seccomp.ok()) return seccomp.status();
  args->seccomp = *seccomp;
  args->init = place.own_pids;
  // Without a container's own life, ^C ends the program as it would without a sandbox.
  args->shield_init = config.container;
  auto personality = Scheduling::PersonalityOf(config.spec.linux_);
  if (!personality.ok()) return personality.status();
  ContainerPlace own = place;
  own.personality = *personality;
  return Create(kernel, config.spec.process, own, *std::move(args), config.container);
}

absl::StatusOr<HostStarted> Exec(Kernel& kernel, const spec::Process& process, const RefPtr<MountNamespace>& mounts,
                                 std::vector<UniqueFd> streams, const HostStarted& init) {
  const ContainerPlace& place = init.place;
  if (mounts == nullptr) return absl::FailedPreconditionError("container not running");
  auto args = MakeArgs(process, place, mounts, std::move(streams));
  if (!args.ok()) return args.status();
  args->init = false;
  args->seccomp = init.seccomp;
  return Create(kernel, process, place, *std::move(args), false);
}

}  // namespace sandbox::boot
