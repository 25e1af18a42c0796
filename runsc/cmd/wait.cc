// runsc wait: blocks until a container has ended.
#include <cstdio>

#include "nlohmann/json.hpp"
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class Wait final : public cli::Command {
 public:
  const char* name() const override { return "wait"; }
  const char* help() const override { return "Wait for a container's end and print its exit status as JSON"; }
  void Configure(cli::Parser& parser) override { parser.Word("id", id_, true, "Container id"); }
  int Run(const cli::GlobalOptions& options) override {
    auto found = Find(options, id_, false);
    if (!found.ok()) return Fail(options, found.status());
    auto code = WaitContainer(found->dir, found->state);
    if (!code.ok()) return Fail(options, code.status());
    std::printf("%s\n", nlohmann::ordered_json{{"id", id_}, {"exitStatus", *code}}.dump().c_str());
    return 0;
  }

 private:
  std::string id_;
};

const cli::CommandRegistration registration(std::make_unique<Wait>());

}  // namespace
}  // namespace sandbox::cmd
