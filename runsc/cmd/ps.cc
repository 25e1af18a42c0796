// runsc ps: the processes of a container. The table has the guest's own pids; JSON is for engines, which look the pids
// up in the host's /proc, so it lists the host processes that stand for guest processes, under the guests' command
// lines.
#include <cstdio>
#include <ctime>

#include "nlohmann/json.hpp"
#include "runsc/cmd/container_commands.h"
#include "runsc/container/exec.h"
#include "runsc/control/message.h"

namespace sandbox::cmd {
namespace {

class Ps final : public cli::Command {
 public:
  const char* name() const override { return "ps"; }
  const char* help() const override { return "List the processes of a container"; }
  void Configure(cli::Parser& parser) override {
    parser.Choice("-f,--format", format_, {"table", "json"}, "table or json");
    // Options of ps(1) behind the id are accepted.
    parser.StopAtFirstWord("runsc [OPTIONS] ps [--format table|json] ID [PS OPTIONS]");
    parser_ = &parser;
  }
  int Run(const cli::GlobalOptions& options) override {
    const std::vector<std::string> rest = parser_->Rest();
    if (rest.empty())
      return Fail(options, absl::InvalidArgumentError("ps: no container id given (--help has the usage)"));
    id_ = rest[0];
    auto found = Find(options, id_, false);
    if (!found.ok()) return Fail(options, found.status());
    if (CurrentStatus(found->state) == Status::kStopped)
      return Fail(options, absl::FailedPreconditionError("container not running"));
    if (format_ == "json") {
      std::printf("%s\n", nlohmann::json(StandIns(found->state)).dump().c_str());
      return 0;
    }
    auto socket = found->dir.Connect(found->state);
    if (!socket.ok()) return Fail(options, socket.status());
    auto answer = control::Call(socket->borrow(), {control::Message::Kind::kProcesses, 0, "", id_});
    if (!answer.ok()) return Fail(options, answer.status());
    PrintTable(nlohmann::json::parse(answer->text, nullptr, false));
    return 0;
  }

 private:
  static void PrintTable(const nlohmann::json& rows) {
    std::printf("%-10s %7s %7s %-8s %-8s %s\n", "UID", "PID", "PPID", "STIME", "TIME", "CMD");
    if (!rows.is_array()) return;
    for (const auto& row : rows) {
      if (!row.is_object()) continue;
      const time_t start = row.value("start", int64_t{0});
      const int64_t cpu = row.value("cpu_ns", int64_t{0}) / 1000000000;
      char when[16];
      std::tm local = {};
      std::strftime(when, sizeof(when), "%H:%M", ::localtime_r(&start, &local));
      std::printf("%-10u %7d %7d %-8s %02ld:%02ld:%02ld %s\n", row.value("uid", 0u), row.value("pid", 0),
                  row.value("ppid", 0), when, cpu / 3600, cpu / 60 % 60, cpu % 60,
                  row.value("name", std::string()).c_str());
    }
  }

  const cli::Parser* parser_ = nullptr;
  std::string id_, format_ = "table";
};

const cli::CommandRegistration registration(std::make_unique<Ps>());

}  // namespace
}  // namespace sandbox::cmd
