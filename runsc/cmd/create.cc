// runsc create: everything up to the first instruction of the container's program.
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class Create final : public cli::Command {
 public:
  const char* name() const override { return "create"; }
  const char* help() const override { return "Create a container from a bundle; start runs it"; }
  void Configure(cli::Parser& parser) override { AddCreateOptions(parser, create_); }
  int Run(const cli::GlobalOptions& options) override {
    auto created = CreateContainer(options, create_);
    return created.ok() ? 0 : Fail(options, created.status());
  }

 private:
  CreateOptions create_;
};

const cli::CommandRegistration registration(std::make_unique<Create>());

}  // namespace
}  // namespace sandbox::cmd
