#include "runsc/boot/sysctls.h"

#include "runsc/ns/network.h"
#include "sentry/fs/proc/ipc_settings.h"
#include "sentry/socket/net_sysctls.h"

namespace sandbox::boot {
namespace {

absl::Status Bad(const std::string& name, const std::string& why) {
  return absl::InvalidArgumentError("linux.sysctl: " + name + ": " + why);
}

absl::Status Apply(const std::string& name, const std::string& path, const std::string& value, const OwnNamespaces& own,
                   IpcNamespace& ipc, UtsNamespace& uts) {
  if (path.rfind("net/", 0) == 0) {
    if (!own.network) return Bad(name, "the container has no network namespace of its own");
    SetNetSysctl(path, value);
    return absl::OkStatus();
  }
  if (path == "kernel/domainname" || path == "kernel/hostname") {
    if (!own.uts) return Bad(name, "the container has no UTS namespace of its own");
    path == "kernel/hostname" ? uts.SetHostname(value) : uts.SetDomainname(value);
    return absl::OkStatus();
  }
  for (const proc::IpcSetting& setting : proc::IpcSettings()) {
    if (path != setting.path) continue;
    if (!own.ipc) return Bad(name, "the container has no IPC namespace of its own");
    return setting.set(ipc, value).ok() ? absl::OkStatus() : Bad(name, "\"" + value + "\" is not a value it may have");
  }
  return Bad(name, "not a sysctl of a container's namespaces");
}

}  // namespace

absl::Status ApplySysctls(const std::map<std::string, std::string>& sysctls, const OwnNamespaces& own,
                          IpcNamespace& ipc, UtsNamespace& uts) {
  for (const auto& [name, value] : sysctls) {
    if (auto status = Apply(name, ns::SysctlPath(name), value, own, ipc, uts); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace sandbox::boot
