// What a bundle itself may choose of the runtime's options. Annotations only tighten what the command line allows.
//
//   dev.runsc.platform   systrap | ptrace
//   dev.runsc.overlay    memory: writes to the root stay in memory; dir: in the state folder
//   dev.runsc.network    none: loopback only
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "runsc/boot/config.h"

namespace sandbox {

// InvalidArgument for a value that is none of these, or one that would loosen. Other names are left to others.
absl::Status ApplyAnnotations(const std::map<std::string, std::string>& annotations, boot::BootConfig& config);

// The bundle's sysctls of the network namespace, which are the host's to keep; `own` says whether the container has
// one. Those of other namespaces are the sentry's (runsc/boot/sysctls.h), and so are the two that say who may use ports
// below 1024 and ICMP echo sockets: in a namespace of its own, the host opens both to the unprivileged sentry.
absl::Status ApplyNetworkSysctls(const spec::Spec& spec, bool own);

}  // namespace sandbox
