// runsc state: the OCI state document.
#include <cstdio>

#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class StateCommand final : public cli::Command {
 public:
  const char* name() const override { return "state"; }
  const char* help() const override { return "Print a container's state as JSON"; }
  void Configure(cli::Parser& parser) override { parser.Word("id", id_, true, "Container id"); }
  int Run(const cli::GlobalOptions& options) override {
    auto found = Find(options, id_, false);
    if (!found.ok()) return Fail(options, found.status());
    std::printf("%s\n", OciState(found->state).c_str());
    return 0;
  }

 private:
  std::string id_;
};

const cli::CommandRegistration registration(std::make_unique<StateCommand>());

}  // namespace
}  // namespace sandbox::cmd
