// runsc syscalls: every call this kernel knows and how well.
#include <cstdio>

#include "nlohmann/json.hpp"
#include "runsc/cli/command.h"
#include "syscalls/table.h"

namespace sandbox::cmd {
namespace {

const char* SupportName(syscalls::Support support) {
  switch (support) {
    case syscalls::Support::kFull:
      return "full";
    case syscalls::Support::kPartial:
      return "partial";
    case syscalls::Support::kUnsupported:
      return "unsupported";
  }
  return "";
}

class Syscalls final : public cli::Command {
 public:
  const char* name() const override { return "syscalls"; }
  const char* help() const override { return "List the system calls and their support"; }
  void Configure(cli::Parser& parser) override {
    parser.Choice("-f,--format", format_, {"table", "json"}, "table or json");
  }
  int Run(const cli::GlobalOptions&) override {
    if (format_ == "json") {
      nlohmann::ordered_json all = nlohmann::ordered_json::array();
      for (const syscalls::Row* row : syscalls::AllRows()) {
        all.push_back(
            {{"number", row->nr}, {"name", row->name}, {"support", SupportName(row->support)}, {"note", row->note}});
      }
      std::printf("%s\n", all.dump(2).c_str());
      return 0;
    }
    std::printf("%-4s %-24s %-12s %s\n", "NR", "NAME", "SUPPORT", "NOTE");
    for (const syscalls::Row* row : syscalls::AllRows()) {
      std::printf("%-4d %-24s %-12s %s\n", row->nr, row->name, SupportName(row->support), row->note);
    }
    return 0;
  }

 private:
  std::string format_ = "table";
};

const cli::CommandRegistration registration(std::make_unique<Syscalls>());

}  // namespace
}  // namespace sandbox::cmd
