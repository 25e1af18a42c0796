// runsc start: lets a created container run.
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class StartCommand final : public cli::Command {
 public:
  const char* name() const override { return "start"; }
  const char* help() const override { return "Run the program of a created container"; }
  void Configure(cli::Parser& parser) override { parser.Word("id", id_, true, "Container id"); }
  int Run(const cli::GlobalOptions& options) override {
    auto found = Find(options, id_, true);
    if (!found.ok()) return Fail(options, found.status());
    auto status = Start(options, found->dir, found->state);
    return status.ok() ? 0 : Fail(options, status);
  }

 private:
  std::string id_;
};

const cli::CommandRegistration registration(std::make_unique<StartCommand>());

}  // namespace
}  // namespace sandbox::cmd
