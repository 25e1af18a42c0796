// runsc do: one command on the host's files, writes discarded. No bundle, no image, no daemon.
#include <sys/resource.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <cstring>

#include "runsc/cli/command.h"
#include "runsc/cli/error_log.h"
#include "runsc/cmd/foreground_run.h"

extern char** environ;

namespace sandbox::cmd {
namespace {

std::vector<std::string> CallerEnvironment(const std::vector<std::string>& extra) {
  std::vector<std::string> env;
  const auto overridden = [&](const std::string& entry) {
    const std::string key = entry.substr(0, entry.find('=') + 1);
    for (const std::string& e : extra) {
      if (e.rfind(key, 0) == 0) return true;
    }
    return false;
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!overridden(*entry)) env.push_back(*entry);
  }
  env.insert(env.end(), extra.begin(), extra.end());
  return env;
}

std::string CurrentFolder() {
  char buffer[PATH_MAX];
  return ::getcwd(buffer, sizeof(buffer)) != nullptr ? buffer : "/";
}

spec::User CallerIds() {
  spec::User user{::geteuid(), ::getegid(), std::nullopt, {}};
  std::vector<gid_t> groups(NGROUPS_MAX);
  const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  if (count > 0) user.additional_gids.assign(groups.begin(), groups.begin() + count);
  return user;
}

std::vector<spec::Rlimit> CallerRlimits() {
  std::vector<spec::Rlimit> limits;
  for (const char* name :
       {"RLIMIT_STACK", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_AS"}) {
    rlimit value;
    if (::getrlimit(static_cast<__rlimit_resource_t>(*spec::RlimitNumber(name)), &value) == 0) {
      limits.push_back({name, value.rlim_cur, value.rlim_max});
    }
  }
  return limits;
}

class Do final : public cli::Command {
 public:
  const char* name() const override { return "do"; }
  const char* help() const override { return "Run a command in a sandbox over the host's root file system"; }
  void Configure(cli::Parser& parser) override {
    parser.Option("--root", root_, "Folder to use as the root file system");
    parser.Option("--cwd", cwd_, "Working directory (default: the caller's)");
    parser.Option("-e,--env", env_, "NAME=VALUE to add to the environment");
    parser.Option("--hostname", hostname_, "Host name inside (default: the host's)");
    parser.Choice("--overlay", overlay_, {"memory", "none"},
                  "memory: writes are kept in memory and discarded; none: they reach the host");
    parser.StopAtFirstWord("runsc [OPTIONS] do [--root DIR] [--cwd DIR] [--env NAME=VALUE] COMMAND [ARG ...]");
    parser_ = &parser;
  }
  int Run(const cli::GlobalOptions& options) override {
    std::vector<std::string> args = parser_->Rest();
    if (args.empty()) return cli::ReportError(options, "do: no command given; try: runsc do ls -l /");
    boot::BootConfig config = ConfigFrom(options, MakeSpec(std::move(args)));
    config.overlay = overlay_;
    return RunForeground(options, std::move(config), {HostTree{root_, "/", overlay_ != "none"}});
  }

 private:
  spec::Spec MakeSpec(std::vector<std::string> args) const {
    spec::Spec spec = spec::DefaultSpec();
    spec.root = {root_, false};
    spec.process.terminal = false;
    spec.process.args = std::move(args);
    spec.process.env = CallerEnvironment(env_);
    spec.process.cwd = !cwd_.empty() ? cwd_ : root_ == "/" ? CurrentFolder() : "/";
    spec.process.user = CallerIds();
    spec.process.rlimits = CallerRlimits();
    spec.process.no_new_privileges = false;
    // The caller's own authority, over a kernel of its own: root is root in there, a user is that user.
    const std::vector<std::string> none;
    if (::geteuid() == 0) {
      const std::vector<std::string> all = spec::AllCapabilityNames();
      spec.process.capabilities = spec::Capabilities{all, all, none, all, none};
    } else {
      spec.process.capabilities = spec::Capabilities{none, none, none, none, none};
    }
    char host[HOST_NAME_MAX + 1] = {};
    spec.hostname = !hostname_.empty() ? hostname_ : ::gethostname(host, sizeof(host) - 1) == 0 ? host : "runsc";
    return spec;
  }

  const cli::Parser* parser_ = nullptr;
  std::string root_ = "/";
  std::string cwd_;
  std::string hostname_;
  std::string overlay_ = "memory";
  std::vector<std::string> env_;
};

const cli::CommandRegistration registration(std::make_unique<Do>());

}  // namespace
}  // namespace sandbox::cmd
