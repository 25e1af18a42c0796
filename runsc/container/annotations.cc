#include "runsc/container/annotations.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>

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
    } else if (what == "overlay" &&
               (value == "memory" || value == config.overlay || (value == "dir" && config.overlay == "none"))) {
      config.overlay = value;
    } else if (what == "network" && (value == "none" || value == config.network)) {
      config.network = value;
    } else {
      return Bad(name, value);
    }
  }
  return absl::OkStatus();
}

absl::Status ApplyNetworkSysctls(const spec::Spec& spec, bool own) {
  constexpr const char* kForSentry[] = {"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"};
  if (own && ::geteuid() == 0) {
    // A kernel without them has no such restriction to lift.
    (void)ns::WriteSysctl(kForSentry[0], "0");
    (void)ns::WriteSysctl(kForSentry[1], "0 2147483647");
  }
  for (const auto& [name, value] : spec.linux_.sysctl) {
    std::string dotted = name;
    if (dotted.find('/') != std::string::npos) std::replace(dotted.begin(), dotted.end(), '/', '.');
    if (dotted.rfind("net.", 0) != 0 ||
        std::find(std::begin(kForSentry), std::end(kForSentry), dotted) != std::end(kForSentry))
      continue;
    if (!own)
      return absl::InvalidArgumentError("sysctl " + name + ": the container has no network namespace of its own");
    if (auto status = ns::WriteSysctl(name, value); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace sandbox
