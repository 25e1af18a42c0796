// What happens when one of our own processes makes a host system call its filter refuses.
#pragma once

#include "absl/status/status.h"

namespace sandbox::hostfilter {

// Installs a SIGSYS handler that writes "runsc: <role>: host system call N refused" to standard error and aborts.
// `role` must have static storage. Call before the filter is loaded.
absl::Status ReportRefusedCalls(const char* role);

}  // namespace sandbox::hostfilter
