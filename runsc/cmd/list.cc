// runsc list: the containers of --root.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "nlohmann/json.hpp"
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class ListCommand final : public cli::Command {
 public:
  const char* name() const override { return "list"; }
  const char* help() const override { return "List containers"; }
  void Configure(cli::Parser& parser) override {
    parser.Choice("-f,--format", format_, {"table", "json"}, "table or json");
    parser.Flag("-q,--quiet", quiet_, "Ids only");
  }
  int Run(const cli::GlobalOptions& options) override {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const std::string& id : ContainerDir::List(options.root)) {
      // One that is deleted meanwhile, or not written yet, is not there.
      auto found = Find(options, id, false);
      if (found.ok()) all.push_back(nlohmann::ordered_json::parse(OciState(found->state)));
    }
    if (quiet_) {
      for (const auto& one : all) std::printf("%s\n", one["id"].get<std::string>().c_str());
    } else if (format_ == "json") {
      std::printf("%s\n", all.empty() ? "null" : all.dump().c_str());
    } else {
      PrintTable(all);
    }
    return 0;
  }

 private:
  static void PrintTable(const nlohmann::ordered_json& all) {
    const char* keys[] = {"id", "pid", "status", "bundle", "created", "owner"};
    const char* titles[] = {"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"};
    const auto text = [](const nlohmann::ordered_json& value) {
      return value.is_string() ? value.get<std::string>() : value.dump();
    };
    size_t widths[6];
    for (int i = 0; i < 6; ++i) {
      widths[i] = std::strlen(titles[i]);
      for (const auto& one : all) widths[i] = std::max(widths[i], text(one[keys[i]]).size());
    }
    const auto cell = [&](int i, const std::string& value) {
      std::printf("%-*s", i < 5 ? static_cast<int>(widths[i]) + 3 : 0, value.c_str());
    };
    for (int i = 0; i < 6; ++i) cell(i, titles[i]);
    std::printf("\n");
    for (const auto& one : all) {
      for (int i = 0; i < 6; ++i) cell(i, text(one[keys[i]]));
      std::printf("\n");
    }
  }

  std::string format_ = "table";
  bool quiet_ = false;
};

const cli::CommandRegistration registration(std::make_unique<ListCommand>());

}  // namespace
}  // namespace sandbox::cmd
