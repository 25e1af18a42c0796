// The bundle's seccomp profile, which the sentry enforces on guest calls. libseccomp compiles it to the same classic
// BPF that a host kernel would run.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "absl/status/statusor.h"
#include "runsc/spec/spec.h"

namespace sandbox::boot {

// InvalidArgument for unknown actions, operators or argument numbers. Names of calls that are not known are skipped, as
// other runtimes do: profiles list calls of many kernels and architectures.
absl::StatusOr<std::vector<sock_filter>> CompileSeccomp(const spec::Seccomp& profile);

}  // namespace sandbox::boot
