// The sentry's side of a start: from the configuration on kConfigFd to a running container.
#pragma once

namespace sandbox::boot {

// Runs the sentry to its end. Called in a fresh, single-threaded process that owns its namespaces, with the
// descriptors of config.h. Reports on kControlFd; returns the process's exit code.
int BootMain();

}  // namespace sandbox::boot
