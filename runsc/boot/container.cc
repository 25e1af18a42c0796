#include "runsc/boot/container.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sentry/fs/devpts/host_tty.h"
#include "sentry/fs/host/host_file.h"

namespace sandbox::boot {
namespace {

constexpr char kExitCodeUrl[] = "runsc/exit-code";

absl::Status WithExitCode(absl::Status status, int code) {
  status.SetPayload(kExitCodeUrl, absl::Cord(absl::StrCat(code)));
  return status;
}

absl::StatusOr<CredentialsRef> MakeCredentials(const spec::Process& process) {
  auto creds = std::make_shared<Credentials>();
  creds->uid = creds->euid = creds->suid = creds->fsuid = process.user.uid;
  creds->gid = creds->egid = creds->sgid = creds->fsgid = process.user.gid;
  creds->groups = process.user.additional_gids;
  creds->bounding = kAllCapabilities;
  if (process.capabilities) {
    const std::pair<CapabilitySet*, const std::vector<std::string>*> sets[] = {
        {&creds->permitted, &process.capabilities->permitted},     {&creds->effective, &process.capabilities->effective},
        {&creds->inheritable, &process.capabilities->inheritable}, {&creds->bounding, &process.capabilities->bounding},
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

// Guest descriptors 0, 1 and 2 are the sandbox's own. A closed one stays closed.
absl::StatusOr<RefPtr<FdTable>> StandardStreams(RefPtr<ControllingTerminal>& terminal) {
  auto table = MakeRef<FdTable>();
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) continue;
    auto file = OpenDonated(UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3)));
    if (!file.ok()) return absl::InternalError(absl::StrCat("standard stream ", fd, ": ", std::strerror(file.error().value())));
    auto installed = table->InstallAt(KernelContext(), Fd(fd), *file, /*close_on_exec=*/false);
    if (!installed.ok()) return absl::InternalError(absl::StrCat("standard stream ", fd));
    if (terminal == nullptr) terminal = DonatedTerminal(*file);
  }
  return table;
}

// The texts are those containerd, Docker and Podman look for.
absl::Status StartFailure(const std::string& program, const std::string& cwd, Errno error) {
  switch (error.value()) {
    case ENOENT:
      if (program.find('/') == std::string::npos) {
        return WithExitCode(absl::NotFoundError(absl::StrCat("exec: \"", program, "\": executable file not found in $PATH")), kExitNotFound);
      }
      return WithExitCode(absl::NotFoundError(absl::StrCat("exec: \"", program, "\": stat ", program, ": no such file or directory")), kExitNotFound);
    case EACCES:
      return WithExitCode(absl::PermissionDeniedError(absl::StrCat("exec: \"", program, "\": permission denied")), kExitNotExecutable);
    case ENOEXEC:
      return WithExitCode(absl::InternalError(absl::StrCat("exec: \"", program, "\": exec format error")), kExitNotExecutable);
    default:
      return absl::InternalError(absl::StrCat("starting \"", program, "\" in ", cwd, ": ", std::strerror(error.value())));
  }
}

}  // namespace

absl::StatusOr<InitProcess> StartInit(Kernel& kernel, const BootConfig& config, const RefPtr<MountNamespace>& mounts) {
  const spec::Process& process = config.spec.process;
  CreateProcessArgs args;
  args.filename = process.args[0];
  args.argv = process.args;
  args.envv = process.env;
  args.cwd = process.cwd;
  args.mounts = mounts;
  args.umask = process.user.umask.value_or(022);
  args.shield_init = false;
  auto creds = MakeCredentials(process);
  if (!creds.ok()) return creds.status();
  args.creds = *creds;
  args.no_new_privs = process.no_new_privileges;
  auto limits = MakeLimits(process);
  if (!limits.ok()) return limits.status();
  args.limits = *limits;
  RefPtr<ControllingTerminal> terminal;
  auto fds = StandardStreams(terminal);
  if (!fds.ok()) return fds.status();
  args.fds = *fds;
  args.terminal = terminal;
  auto task = kernel.CreateProcess(std::move(args));
  if (!task.ok()) return StartFailure(process.args[0], process.cwd, task.error());
  return InitProcess{*task, terminal};
}

int ExitCodeOf(const absl::Status& status) {
  int code = 1;
  if (const auto payload = status.GetPayload(kExitCodeUrl)) (void)absl::SimpleAtoi(std::string(*payload), &code);
  return code;
}

}  // namespace sandbox::boot
