#include "runsc/cmd/foreground_run.h"

#include <sys/wait.h>

#include "base/log.h"
#include "runsc/cli/error_log.h"

namespace sandbox::cmd {

boot::BootConfig ConfigFrom(const cli::GlobalOptions& options, spec::Spec spec) {
  boot::BootConfig config;
  config.spec = std::move(spec);
  config.platform = options.platform;
  config.network = options.network;
  config.strace = options.strace;
  config.rewrite = options.rewrite == "on";
  config.profile = options.profile;
  config.debug = options.debug;
  config.json_log = options.log_format == "json";
  config.rootless = options.rootless;
  return config;
}

int RunForeground(const cli::GlobalOptions& options, boot::BootConfig config, const std::vector<HostTree>& trees) {
  auto sandbox = Sandbox::Start(std::move(config), trees, LogFd());
  if (!sandbox.ok()) {
    cli::ReportError(options, sandbox.status());
    return Sandbox::ExitCodeOf(sandbox.status());
  }
  const auto status = sandbox->WaitForeground();
  if (!status.ok()) return cli::ReportError(options, status.status());
  return WIFSIGNALED(*status) ? 128 + WTERMSIG(*status) : WEXITSTATUS(*status);
}

}  // namespace sandbox::cmd
