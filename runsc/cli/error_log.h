// How runsc tells its caller what went wrong: one line on standard error, and the same in --log, where engines read
// it (as a JSON line with --log-format json).
#pragma once

#include <string>

#include "absl/status/status.h"
#include "runsc/cli/options.h"

namespace sandbox::cli {

inline constexpr int kExitFailure = 1;

// Returns kExitFailure, so that a command can `return ReportError(…)`.
int ReportError(const GlobalOptions& options, const std::string& message);
int ReportError(const GlobalOptions& options, const absl::Status& status);
// The same for what went wrong without being the command's failure.
void ReportWarning(const GlobalOptions& options, const std::string& message);

}  // namespace sandbox::cli
