// The seccomp filter of the sentry itself: which host system calls our kernel may make once guests run. There is no
// way in it to name a path, start a program, or map executable memory.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "base/host_rule.h"

namespace sandbox::hostfilter {

struct SentryFilterOptions {
  bool host_network = false;                 // AF_INET/AF_INET6 sockets
  std::span<const HostRule> platform_rules;  // platform/<name>/host_rules.h
};

// Installs it on every thread of the process. A refused call reports its number on standard error and aborts, so
// that a missing rule is found at once.
absl::Status InstallSentryFilter(const SentryFilterOptions& options);

}  // namespace sandbox::hostfilter
