#include "runsc/container/annotations.h"

#include <unistd.h>

#include "runsc/ns/network.h"

namespace sandbox {
namespace {

constexpr char kPrefix[] = "dev.runsc.";

absl::Status Bad(const std::string& name, const std::string& value) {
  return absl::InvalidArgumentError("annotation " + name + ": \"" + value + "\" is not a value it may have");
}

}  // namespace

absl::Status ApplyAnnotations(const std::map<std::string, std::string>& annotations, boot::BootConfig& config) {
  for (const auto& [name, value] : annotations) {
    if (name.rfind(kPrefix, 0) != 0) continue;
    const std::string what = name.substr(sizeof(kPrefix) - 1);
    if (what == "platform" && (value == "systrap" || value == "ptrace")) {
      config.platform = value;
    } else if (what == "overlay" && (value == "memory" || value == config.overlay)) {
      config.overlay = value;
    } else if (what == "network" && (value == "none" || value == config.network)) {
      config.network = value;
    } else {
      return Bad(name, value);
    }
  }
  return absl::OkStatus();
}

std::string PodOf(const std::map<std::string, std::string>& annotations) {
  static constexpr std::pair<const char*, const char*> kNames[] = {
      {"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"},
      {"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"}};
  for (const auto& [type, id] : kNames) {
    const auto kind = annotations.find(type), sandbox = annotations.find(id);
    if (kind != annotations.end() && kind->second == "container" && sandbox != annotations.end()) return sandbox->second;
  }
  return "";
}

absl::Status ApplyNetworkSysctls(const spec::Spec& spec, bool own) {
  if (own && ::geteuid() == 0) {
    // A kernel without them has no such restriction to lift.
    (void)ns::WriteSysctl("net.ipv4.ip_unprivileged_port_start", "0");
    (void)ns::WriteSysctl("net.ipv4.ping_group_range", "0 2147483647");
  }
  for (const auto& [name, value] : spec.linux_.sysctl) {
    if (name.rfind("net.", 0) != 0 && name.rfind("net/", 0) != 0) {
      return absl::InvalidArgumentError("sysctl " + name + " cannot be set: only those of the network can");
    }
    if (!own) return absl::InvalidArgumentError("sysctl " + name + ": the container has no network namespace of its own");
    if (auto status = ns::WriteSysctl(name, value); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace sandbox
