// runsc delete: everything of a container that has ended or never ran.
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class DeleteCommand final : public cli::Command {
 public:
  const char* name() const override { return "delete"; }
  const char* help() const override { return "Delete a container"; }
  void Configure(cli::Parser& parser) override {
    parser.Word("id", id_, true, "Container id");
    parser.Flag("-f,--force", force_, "Kill it first if it runs; one that does not exist is no error");
  }
  int Run(const cli::GlobalOptions& options) override {
    auto status = Delete(options, id_, force_);
    return status.ok() || (force_ && absl::IsNotFound(status)) ? 0 : Fail(options, status);
  }

 private:
  std::string id_;
  bool force_ = false;
};

const cli::CommandRegistration registration(std::make_unique<DeleteCommand>());

}  // namespace
}  // namespace sandbox::cmd
