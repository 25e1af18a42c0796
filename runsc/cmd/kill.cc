// runsc kill: a signal to the container's first process, or to all.
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class Kill final : public cli::Command {
 public:
  const char* name() const override { return "kill"; }
  const char* help() const override { return "Send a signal to a container"; }
  void Configure(cli::Parser& parser) override {
    parser.Word("id", id_, true, "Container id");
    parser.Word("signal", signal_, false, "Name or number");
    parser.Flag("-a,--all", all_, "Send it to every process");
  }
  int Run(const cli::GlobalOptions& options) override {
    auto signo = ParseSignal(signal_);
    if (!signo.ok()) return Fail(options, signo.status());
    auto found = Find(options, id_, false);
    if (!found.ok()) return Fail(options, found.status());
    auto status = KillContainer(found->dir, found->state, *signo, all_);
    return status.ok() ? 0 : Fail(options, status);
  }

 private:
  std::string id_;
  std::string signal_ = "SIGTERM";
  bool all_ = false;
};

const cli::CommandRegistration registration(std::make_unique<Kill>());

}  // namespace
}  // namespace sandbox::cmd
