#include "runsc/cmd/foreground_run.h"

#include "base/log.h"
#include "runsc/cli/error_log.h"
#include "runsc/control/message.h"
#include "runsc/sandbox/stand_in.h"

namespace sandbox::cmd {

boot::BootConfig ConfigFrom(const cli::GlobalOptions& options, spec::Spec spec) {
  boot::BootConfig config;
  config.spec = std::move(spec);
  config.platform = options.platform;
  config.network = options.network.empty() ? "none" : options.network;
  config.strace = options.strace;
  config.rewrite = options.rewrite == "on";
  config.profile = options.profile;
  config.debug = options.debug;
  config.json_log = options.log_format == "json";
  config.rootless = options.rootless == "true";
  return config;
}

int RunForeground(const cli::GlobalOptions& options, boot::BootConfig config, const std::vector<HostTree>& trees) {
  SandboxOptions launch;
  launch.config = std::move(config);
  launch.trees = trees;
  launch.log_fd = LogFd();
  auto sandbox = Sandbox::Launch(std::move(launch));
  if (!sandbox.ok()) return cli::ReportError(options, sandbox.status());
  if (auto status = sandbox->WaitStarted(); !status.ok()) {
    cli::ReportError(options, status);
    return control::ExitCodeOf(status);
  }
  const auto status = sandbox->WaitForeground();
  if (!status.ok()) return cli::ReportError(options, status.status());
  return ExitCodeOfWait(*status);
}

}  // namespace sandbox::cmd
