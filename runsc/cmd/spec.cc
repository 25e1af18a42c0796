// runsc spec: writes an example config.json.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"
#include "runsc/cli/command.h"
#include "runsc/cli/error_log.h"
#include "runsc/spec/spec.h"

namespace sandbox::cmd {
namespace {

// What an ordinary user can have: one user id, the host's network, and no groups of the host.
void MakeRootless(spec::Spec& spec) {
  auto& namespaces = spec.linux_.namespaces;
  std::erase_if(namespaces, [](const spec::Namespace& ns) { return ns.type == "network"; });
  namespaces.push_back({"user", ""});
  spec.linux_.uid_mappings = {{0, ::geteuid(), 1}};
  spec.linux_.gid_mappings = {{0, ::getegid(), 1}};
  for (spec::Mount& mount : spec.mounts) {
    std::erase_if(mount.options, [](const std::string& option) { return option.rfind("gid=", 0) == 0; });
    // The network's part of a sysfs belongs to who owns the network.
    if (mount.type == "sysfs") mount = {"/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"}};
  }
}

class SpecCommand final : public cli::Command {
 public:
  const char* name() const override { return "spec"; }
  const char* help() const override { return "Write an example config.json"; }
  void Configure(cli::Parser& parser) override {
    parser.Option("-b,--bundle", bundle_, "Folder to write to");
    parser.Flag("--rootless", rootless_, "For the calling user, without privileges");
    parser.Words("command", args_, "The process to run");
  }
  int Run(const cli::GlobalOptions& options) override {
    spec::Spec spec = spec::DefaultSpec();
    if (!args_.empty()) {
      spec.process.args = args_;
      spec.process.terminal = false;
    }
    if (rootless_) MakeRootless(spec);
    const std::string path = bundle_ + "/config.json";
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    const std::string text = spec::ToJson(spec) + "\n";
    if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      return cli::ReportError(options, path + ": " + std::strerror(errno));
    }
    return 0;
  }

 private:
  std::string bundle_ = ".";
  std::vector<std::string> args_;
  bool rootless_ = false;
};

const cli::CommandRegistration registration(std::make_unique<SpecCommand>());

}  // namespace
}  // namespace sandbox::cmd
