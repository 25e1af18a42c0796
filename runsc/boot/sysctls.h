// linux.sysctl of the namespaces that the sentry keeps; those of the network are the host's too (runsc/container).
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "sentry/kernel/namespaces.h"

namespace sandbox::boot {

// InvalidArgument for a name or a value that this kernel does not have. `own_ipc`, `own_uts`, `own_network`: whether
// the container may change that namespace.
struct OwnNamespaces {
  bool ipc = true, uts = true, network = true;
};
absl::Status ApplySysctls(const std::map<std::string, std::string>& sysctls, const OwnNamespaces& own,
                          IpcNamespace& ipc, UtsNamespace& uts);

}  // namespace sandbox::boot
