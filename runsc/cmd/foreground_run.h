// What `do` and `run` share: start a sandbox in the foreground and become its exit code.
#pragma once

#include <vector>

#include "runsc/boot/config.h"
#include "runsc/cli/options.h"
#include "runsc/sandbox/sandbox.h"

namespace sandbox::cmd {

// Fills the fields of the boot configuration that come from global options.
boot::BootConfig ConfigFrom(const cli::GlobalOptions& options, spec::Spec spec);

// Runs to the end. Exit code as a shell reports it: the program's own, or 128 + signal.
int RunForeground(const cli::GlobalOptions& options, boot::BootConfig config, const std::vector<HostTree>& trees);

}  // namespace sandbox::cmd
