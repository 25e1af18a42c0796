// runsc run: creates and starts a container from a bundle, in the foreground.
#include "CLI/CLI.hpp"
#include "runsc/cli/command.h"
#include "runsc/cli/error_log.h"
#include "runsc/cmd/foreground_run.h"
#include "runsc/spec/bundle.h"

namespace sandbox::cmd {
namespace {

class RunCommand final : public cli::Command {
 public:
  const char* name() const override { return "run"; }
  const char* help() const override { return "Create and start a container from a bundle"; }
  void Configure(CLI::App& app) override {
    app.add_option("-b,--bundle", bundle_, "Folder with config.json")->capture_default_str();
    app.add_option("--overlay", overlay_, "none: writes reach the bundle's root; memory: they are discarded")
        ->check(CLI::IsMember({"memory", "none"}))
        ->capture_default_str();
    app.add_option("id", id_, "Container id")->required();
  }
  int Run(const cli::GlobalOptions& options) override {
    if (auto status = spec::CheckContainerId(id_); !status.ok()) return cli::ReportError(options, status);
    auto bundle = spec::LoadBundle(bundle_);
    if (!bundle.ok()) return cli::ReportError(options, bundle.status());
    std::vector<HostTree> trees = {{bundle->spec.root.path, "/", bundle->spec.root.readonly || overlay_ == "memory"}};
    for (const spec::Mount& mount : bundle->spec.mounts) {
      if (spec::IsBind(mount)) trees.push_back({mount.source, mount.destination, spec::IsReadOnly(mount)});
    }
    boot::BootConfig config = ConfigFrom(options, std::move(bundle->spec));
    config.overlay = overlay_;
    return RunForeground(options, std::move(config), trees);
  }

 private:
  std::string bundle_ = ".";
  std::string overlay_ = "none";
  std::string id_;
};

const cli::CommandRegistration registration(std::make_unique<RunCommand>());

}  // namespace
}  // namespace sandbox::cmd
