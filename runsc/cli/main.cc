#include "runsc/cli/main.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "CLI/CLI.hpp"
#include "base/log.h"
#include "runsc/cli/command.h"
#include "runsc/cli/error_log.h"
#include "runsc/cli/title.h"
#include "runsc/cli/version.h"

namespace sandbox::cli {
namespace {

std::vector<std::unique_ptr<Command>>& Registry() {
  static std::vector<std::unique_ptr<Command>> commands;
  return commands;
}

void DeclareGlobals(CLI::App& app, GlobalOptions& options) {
  // Engines put theirs behind those of their configuration.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("--root", options.root, "Folder for container state")->default_val(DefaultRoot());
  app.add_option("--platform", options.platform, "How guest system calls are intercepted: systrap or ptrace")
      ->check(CLI::IsMember({"systrap", "ptrace", "auto"}))
      ->capture_default_str();
  app.add_option("--network", options.network,
                 "none: loopback only; host: sockets of the host in the network namespace that the bundle names "
                 "(default: none for do, host for containers)")
      ->check(CLI::IsMember({"none", "host"}));
  app.add_option("--log", options.log, "File that errors are appended to");
  app.add_option("--log-format", options.log_format, "Format of --log and --debug-log")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_flag("--debug", options.debug, "Log what the runtime does");
  app.add_option("--debug-log", options.debug_log, "File for the debug log (default: standard error)");
  app.add_flag("--profile-syscalls", options.profile,
               "Log at the end where the sentry's time went, by system call (to --debug-log or standard error)");
  app.add_flag("--strace", options.strace, "Log every guest system call with its arguments and result");
  app.add_option("--rewrite", options.rewrite, "Rewrite hot system call sites of guests: on, or off for diagnosis")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  app.add_flag("--rootless{true}", options.rootless,
               "true: run as an ordinary user even when started as root; auto: only when started as one")
      ->check(CLI::IsMember({"true", "false", "auto"}))
      ->capture_default_str();
  app.add_flag("--systemd-cgroup", options.systemd_cgroup, "Accepted for engines; cgroups are managed directly");
  Parser(app).Ignored("--criu", true, "Accepted; no program of the host makes checkpoints");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::Throw);
}

absl::Status OpenDebugLog(const GlobalOptions& options) {
  LogOptions log;
  log.component = "runsc";
  log.format = options.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  log.level = options.debug || options.strace ? LogLevel::kDebug : LogLevel::kWarning;
  if (!options.debug_log.empty() && options.debug_log != "-") {
    log.fd = ::open(options.debug_log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log.fd < 0) return absl::InternalError("opening " + options.debug_log + ": " + std::strerror(errno));
  }
  InitLog(log);
  return absl::OkStatus();
}

}  // namespace

CommandRegistration::CommandRegistration(std::unique_ptr<Command> command) { Registry().push_back(std::move(command)); }

std::vector<Command*> AllCommands() {
  std::vector<Command*> commands;
  for (const auto& command : Registry()) commands.push_back(command.get());
  std::sort(commands.begin(), commands.end(),
            [](Command* a, Command* b) { return std::strcmp(a->name(), b->name()) < 0; });
  return commands;
}

int Main(int argc, char** argv) {
  RememberTitle(argc, argv);
  CLI::App app("Runs containers on a kernel of their own, in user space.", "runsc");
  app.require_subcommand(0, 1);
  // CLI11's -h,--help; -v is runc's short form of --version.
  app.set_version_flag("-v,--version", VersionText());
  GlobalOptions options;
  DeclareGlobals(app, options);
  std::vector<std::unique_ptr<Parser>> parsers;
  for (Command* command : AllCommands()) {
    parsers.push_back(std::make_unique<Parser>(*app.add_subcommand(command->name(), command->help())));
    command->Configure(*parsers.back());
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are exceptions of the library too. What is wrong is logged as other errors are.
    if (error.get_exit_code() == 0) return app.exit(error);
    return ReportError(options, std::string(error.what()) + " (--help has the usage)");
  }
  if (auto status = OpenDebugLog(options); !status.ok()) return ReportError(options, status);
  for (Command* command : AllCommands()) {
    if (app.got_subcommand(command->name())) return command->Run(options);
  }
  std::fputs(app.help().c_str(), stdout);
  return kExitFailure;
}

}  // namespace sandbox::cli
