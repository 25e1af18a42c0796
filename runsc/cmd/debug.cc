// runsc debug: where a running sandbox's sentry spends its time.
#include <algorithm>
#include <cstdio>
#include <map>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "runsc/boot/profile.h"
#include "runsc/cmd/container_commands.h"
#include "runsc/control/message.h"

namespace sandbox::cmd {
namespace {

using Lines = std::vector<syscalls::ProfileLine>;

// What was added since `before`, most busy time first.
Lines Since(const Lines& before, Lines now) {
  std::map<std::pair<std::string, std::string>, const syscalls::ProfileLine*> old;
  for (const auto& line : before) old[{line.call, line.lane}] = &line;
  for (auto& line : now) {
    const auto found = old.find({line.call, line.lane});
    if (found == old.end()) continue;
    line.calls -= std::min(line.calls, found->second->calls);
    line.busy_ns -= std::min(line.busy_ns, found->second->busy_ns);
    line.waited_ns -= std::min(line.waited_ns, found->second->waited_ns);
  }
  std::erase_if(now, [](const auto& line) { return line.calls == 0; });
  std::stable_sort(now.begin(), now.end(), [](const auto& a, const auto& b) { return a.busy_ns > b.busy_ns; });
  return now;
}

class Debug final : public cli::Command {
 public:
  const char* name() const override { return "debug"; }
  const char* help() const override { return "Show where a sandbox's kernel spends its time"; }
  void Configure(cli::Parser& parser) override {
    parser.Word("id", id_, true, "Container id");
    parser.Flag("--stats", stats_, "System calls since the sandbox began, by the way they came in");
    parser.Flag("--profile", profile_, "The same of the next --duration");
    parser.Option("--duration", duration_, "How long --profile looks: 10s, 1m");
  }
  int Run(const cli::GlobalOptions& options) override {
    if (stats_ == profile_) return Fail(options, absl::InvalidArgumentError("one of --stats and --profile"));
    absl::Duration duration;
    if (!absl::ParseDuration(duration_, &duration) || duration <= absl::ZeroDuration())
      return Fail(options, absl::InvalidArgumentError("duration must be greater than 0"));
    auto found = Find(options, id_, false);
    if (!found.ok()) return Fail(options, found.status());
    if (CurrentStatus(found->state) == Status::kStopped)
      return Fail(options, absl::FailedPreconditionError("container not running"));
    auto socket = found->dir.Connect(found->state);
    if (!socket.ok()) return Fail(options, socket.status());
    auto lines = Ask(socket->borrow());
    if (lines.ok() && profile_) {
      absl::SleepFor(duration);
      auto now = Ask(socket->borrow());
      lines = now.ok() ? Since(*lines, *std::move(now)) : std::move(now);
    }
    if (!lines.ok()) return Fail(options, lines.status());
    std::fputs(syscalls::ProfileText(*lines).c_str(), stdout);
    return 0;
  }

 private:
  absl::StatusOr<Lines> Ask(BorrowedFd socket) const {
    auto answer = control::Call(socket, {control::Message::Kind::kProfile, 0, "", id_});
    if (!answer.ok()) return answer.status();
    return boot::ParseProfile(answer->text);
  }

  std::string id_, duration_ = "10s";
  bool stats_ = false, profile_ = false;
};

const cli::CommandRegistration registration(std::make_unique<Debug>());

}  // namespace
}  // namespace sandbox::cmd
