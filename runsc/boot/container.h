// The container's first process, from its configuration.
#pragma once

#include "absl/status/statusor.h"
#include "runsc/boot/config.h"
#include "sentry/kernel/kernel.h"
#include "sentry/vfs/mount.h"

namespace sandbox::boot {

// Exit codes of engines for a program that cannot start.
inline constexpr int kExitNotFound = 127;
inline constexpr int kExitNotExecutable = 126;

struct InitProcess {
  TaskRef task;
  RefPtr<ControllingTerminal> terminal;  // the host terminal among its standard streams, or null
};

// Looks the program up in the container's PATH, and starts it with the configuration's ids, limits and capabilities
// and the sandbox's own standard streams. Error texts are those engines match on.
absl::StatusOr<InitProcess> StartInit(Kernel& kernel, const BootConfig& config, const RefPtr<MountNamespace>& mounts);

// What runsc should exit with for an error of this file; 1 for others.
int ExitCodeOf(const absl::Status& status);

}  // namespace sandbox::boot
