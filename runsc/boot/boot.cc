#include "runsc/boot/boot.h"

#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "platform/api/registry.h"
#include "runsc/boot/config.h"
#include "runsc/boot/container.h"
#include "runsc/boot/control_server.h"
#include "runsc/boot/mounts.h"
#include "runsc/boot/sysctls.h"
#include "runsc/control/message.h"
#include "runsc/hostfilter/sentry_filter.h"
#include "runsc/ns/empty_root.h"
#include "runsc/ns/network.h"
#include "runsc/ns/userns.h"
#include "sentry/core/user_namespace.h"
#include "sentry/fs/gofer/client.h"
#include "sentry/fs/tmpfs/data.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/loader/vdso.h"
#include "sentry/socket/inet/host_socket.h"
#include "sentry/time/vdso_clock.h"
#include "syscalls/profile_text.h"
#include "syscalls/table.h"

namespace sandbox::boot {
namespace {

const BorrowedFd kControl(kControlFd);

absl::StatusOr<BootConfig> ReadConfig() {
  UniqueFd fd(kConfigFd);
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::InternalError(absl::StrCat("boot configuration: ", std::strerror(errno)));
    if (got == 0) break;
    text.append(buffer, got);
  }
  return ParseBootConfig(text);
}

// Descriptors are the sentry's scarcest host resource; take what the caller's hard limit allows.
void RaiseFdLimit() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// Lines of uid_map as the kernel writes them (user_namespaces(7)).
std::string MapText(const std::vector<spec::IdMapping>& mappings) {
  std::string text;
  char line[48];
  for (const spec::IdMapping& one : mappings) {
    std::snprintf(line, sizeof(line), "%10u %10u %10u\n", one.container_id, one.host_id, one.size);
    text += line;
  }
  return text;
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeKernel(const BootConfig& config, BorrowedFd host_proc) {
  platform::PlatformOptions platform_options;
  platform_options.lanes = syscalls::Lanes();
  platform_options.inputs = syscalls::Inputs();
  platform_options.after_trap = &Task::ProceedWithWoken;
  platform_options.clock_page = VdsoClock::Get().page();
  platform_options.host_proc = host_proc;
  auto platform = platform::CreatePlatform(config.platform, platform_options);
  if (!platform.ok()) {
    return absl::InternalError(
        absl::StrCat("platform ", config.platform, ": ", std::strerror(platform.error().value())));
  }
  KernelOptions options;
  options.platform = *std::move(platform);
  options.hostname = config.spec.hostname;
  options.domainname = config.spec.domainname;
  options.strace = config.strace;
  options.rewrite = config.rewrite;
  options.limits = config.limits;
  options.cgroup = TakeCgroupFiles(config);
  options.dispatch = &syscalls::Dispatch;
  auto kernel = Kernel::Create(std::move(options));
  if (!kernel.ok()) return absl::InternalError(absl::StrCat("kernel: ", std::strerror(kernel.error().value())));
  if (const auto& uids = config.spec.linux_.uid_mappings; !uids.empty())
    UserNamespace::Root()->ShowMap(IdKind::kUser, MapText(uids));
  if (const auto& gids = config.spec.linux_.gid_mappings; !gids.empty())
    UserNamespace::Root()->ShowMap(IdKind::kGroup, MapText(gids));
  return *std::move(kernel);
}

// One arena per thread would cost memory, and the allocator would size that by reading /sys, which is out of reach.
void BoundAllocator() { (void)::mallopt(M_ARENA_MAX, 4); }

// Stubs are waited for by a thread of the platform; the signal would only wake another for nothing.
void BlockChildSignal() {
  sigset_t child;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  (void)::pthread_sigmask(SIG_BLOCK, &child, nullptr);
}

// The descriptor comes from runsc; the settings with the configuration.
void OpenLog(const BootConfig& config) {
  LogOptions log;
  log.component = "sentry";
  log.fd = kLogFd;
  log.format = config.json_log ? LogFormat::kJson : LogFormat::kText;
  if (config.debug || config.strace) log.level = LogLevel::kDebug;
  InitLog(log);
}

// The filter for everything from here on; see hostfilter.
absl::Status Confine(const BootConfig& config) {
  hostfilter::SentryFilterOptions filter;
  filter.host_network = config.network == "host";
  if (filter.host_network) UseHostNetwork();
  filter.platform_rules = platform::HostRulesOf(config.platform);
  return hostfilter::InstallSentryFilter(filter);
}

absl::Status Start(const BootConfig& config, std::unique_ptr<Kernel>& kernel, HostStarted& init) {
  OpenLog(config);
  std::vector<UniqueFd> streams = TakeStandardStreams(config);
  BoundAllocator();
  BlockChildSignal();
  RaiseFdLimit();
  // Only the platform's zygote keeps it.
  UniqueFd host_proc = ns::OpenProcesses();
  // Everything below, the platform's zygote included, inherits the empty root and the missing
  // privileges.
  if (auto status = ns::EnterEmptyRoot(); !status.ok()) return status;
  if (auto status = ns::DropPrivileges(0); !status.ok()) return status;
  auto made = MakeKernel(config, host_proc.borrow());
  host_proc.reset();
  if (!made.ok()) return made.status();
  kernel = *std::move(made);

  // A sandbox without a container's bundle has all namespaces of its own.
  const auto own = [&](const char* type) {
    return !config.container || spec::FindNamespace(config.spec, type) != nullptr;
  };
  const OwnNamespaces namespaces = {own("ipc"), own("uts"), own("network")};
  if (auto status = ApplySysctls(config.spec.linux_.sysctl, namespaces, *kernel->ipc(), *kernel->uts()); !status.ok())
    return status;
  auto gofer = GoferClient::Connect(UniqueFd(kGoferFd));
  if (!gofer.ok()) return absl::InternalError(absl::StrCat("gofer: ", std::strerror(gofer.error().value())));
  HostMemory::SetReopener([client = *gofer](BorrowedFd memory) { return client->ReopenMemory(memory); });
  if (config.low_ports) {
    SetPortBinder(
        [client = *gofer](BorrowedFd socket, std::string_view address) { return client->BindPort(socket, address); });
  }
  const ContainerPlace place = FirstPlace(*kernel, config);
  auto mounts = BuildMounts(config, *gofer, place.ipc, place.pids);
  if (!mounts.ok()) return mounts.status();

  loader::PrepareVdso();
  if (auto status = Confine(config); !status.ok()) return status;

  auto task = LoadInit(*kernel, config, place, *mounts, std::move(streams));
  if (!task.ok()) return task.status();
  init = *std::move(task);
  return absl::OkStatus();
}

// Not a message of the log, and so not subject to its level.
void WriteProfile() {
  const std::string text = syscalls::ProfileText(syscalls::ProfileLines());
  for (size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(LogFd(), text.data() + done, text.size() - done);
    if (wrote <= 0) return;
    done += static_cast<size_t>(wrote);
  }
}

}  // namespace

int BootMain() {
  auto config = ReadConfig();
  std::unique_ptr<Kernel> kernel;
  HostStarted init;
  absl::Status status = config.status();
  if (status.ok()) status = Start(*config, kernel, init);
  if (!status.ok()) {
    (void)control::Send(kControl,
                        {control::Message::Kind::kFailed, control::ExitCodeOf(status), std::string(status.message())});
    return 1;
  }
  if (!control::Send(kControl, {control::Message::Kind::kStarted, 0, ""}).ok()) return 1;
  ControlServer server(*kernel, *config, std::move(init));
  std::thread([&] { server.Serve(); }).detach();
  server.Finish([&] {
    if (config->profile) WriteProfile();
  });
}

}  // namespace sandbox::boot
