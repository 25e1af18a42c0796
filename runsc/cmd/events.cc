// runsc events: what a container uses, and when the OOM killer struck, as JSON lines.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "runsc/cgroup/stats.h"
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class Events final : public cli::Command {
 public:
  const char* name() const override { return "events"; }
  const char* help() const override { return "Print what a container uses and OOM events, until it ends"; }
  void Configure(cli::Parser& parser) override {
    parser.Word("id", id_, true, "Container id");
    parser.Flag("--stats", once_, "Print the use once");
    parser.Option("--interval", interval_, "Time between two reports of the use: 5s, 1m");
  }
  int Run(const cli::GlobalOptions& options) override {
    auto found = Find(options, id_, false);
    if (!found.ok()) return Fail(options, found.status());
    if (CurrentStatus(found->state) == Status::kStopped)
      return Fail(options, absl::FailedPreconditionError("container not running"));
    absl::Duration interval;
    // A bare number is seconds.
    if (!absl::ParseDuration(interval_, &interval) && !absl::ParseDuration(interval_ + "s", &interval))
      interval = absl::ZeroDuration();
    if (interval <= absl::ZeroDuration())
      return Fail(options, absl::InvalidArgumentError("duration interval must be greater than 0"));
    const auto group = cgroup::Cgroup::Existing(found->state.cgroups);
    if (!once_) return Follow(found->state, group, interval);
    Print("stats", cgroup::StatsJson(group));
    return 0;
  }

 private:
  void Print(const char* type, const std::string& data) const {
    std::printf("{\"type\":\"%s\",\"id\":%s%s%s}\n", type, nlohmann::json(id_).dump().c_str(),
                data.empty() ? "" : ",\"data\":", data.c_str());
    std::fflush(stdout);
  }

  int Follow(const ContainerState& state, const cgroup::Cgroup& group, absl::Duration interval) const {
    const UniqueFd process = OpenProcess(state.container);
    cgroup::OomWatch oom(group);
    while (process.valid()) {
      pollfd fds[2] = {{process.get(), POLLIN, 0}, oom.Poll()};
      const int ready =
          ::poll(fds, 2, static_cast<int>(std::min<int64_t>(absl::ToInt64Milliseconds(interval), INT32_MAX)));
      if (ready < 0 && errno != EINTR) return 1;
      if (ready == 0) Print("stats", cgroup::StatsJson(group));
      if (fds[1].revents != 0 && oom.Struck()) Print("oom", "");
      if (fds[0].revents != 0) break;
    }
    return 0;
  }

  std::string id_;
  bool once_ = false;
  std::string interval_ = "5s";
};

const cli::CommandRegistration registration(std::make_unique<Events>());

}  // namespace
}  // namespace sandbox::cmd
