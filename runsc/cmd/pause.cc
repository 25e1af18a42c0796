// runsc pause and resume.
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class PauseCommand final : public cli::Command {
 public:
  explicit PauseCommand(bool pause) : pause_(pause) {}
  const char* name() const override { return pause_ ? "pause" : "resume"; }
  const char* help() const override {
    return pause_ ? "Stop all processes of a container" : "Let a paused container go on";
  }
  void Configure(cli::Parser& parser) override { parser.Word("id", id_, true, "Container id"); }
  int Run(const cli::GlobalOptions& options) override {
    auto found = Find(options, id_, true);
    if (!found.ok()) return Fail(options, found.status());
    auto status = PauseContainer(found->dir, found->state, pause_);
    return status.ok() ? 0 : Fail(options, status);
  }

 private:
  const bool pause_;
  std::string id_;
};

const cli::CommandRegistration pause(std::make_unique<PauseCommand>(true));
const cli::CommandRegistration resume(std::make_unique<PauseCommand>(false));

}  // namespace
}  // namespace sandbox::cmd
