// runsc exec: a further process in a running container.
#include "runsc/container/exec.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class Exec final : public cli::Command {
 public:
  const char* name() const override { return "exec"; }
  const char* help() const override { return "Run a process in a running container"; }
  void Configure(cli::Parser& parser) override {
    parser.Option("-p,--process", process_file_, "File with the process as in config.json (- = standard input)");
    parser.Option("--console-socket", exec_.console_socket, "Unix socket that gets the terminal's descriptor");
    parser.Option("--pid-file", exec_.pid_file, "File that gets the pid of the process's stand-in");
    parser.Flag("-d,--detach", exec_.detach, "Return once the process runs");
    parser.Option("--preserve-fds", exec_.preserve_fds, "Descriptors besides 0, 1 and 2 to pass on, from 3");
    parser.Flag("--ignore-paused", exec_.ignore_paused, "Also into a paused container");
    parser.Flag("-t,--tty", tty_, "With a terminal");
    parser.Option("--cwd", cwd_, "Working directory");
    parser.Option("-e,--env", env_, "NAME=VALUE to add to the container's environment");
    parser.Option("-u,--user", user_, "UID[:GID]");
    parser.Option("-g,--additional-gids", gids_, "Additional group");
    parser.Option("-c,--cap", caps_, "Capability to add");
    parser.Flag("--no-new-privs", no_new_privs_, "As prctl(PR_SET_NO_NEW_PRIVS)");
    parser.Ignored("--process-label", true, "Accepted; there is no security module inside");
    parser.Ignored("--apparmor", true, "Accepted; there is no security module inside");
    parser.Ignored("--cgroup", true, "Accepted; processes are in the container's own group");
    parser.StopAtFirstWord("runsc [OPTIONS] exec [EXEC OPTIONS] ID COMMAND [ARG ...]");
    parser_ = &parser;
  }
  int Run(const cli::GlobalOptions& options) override {
    std::vector<std::string> rest = parser_->Rest();
    if (rest.empty()) return Fail(options, absl::InvalidArgumentError("exec: no container id given"));
    const std::string id = rest[0];
    rest.erase(rest.begin());
    if (!rest.empty() && rest[0] == "--") rest.erase(rest.begin());
    auto found = Find(options, id, false);
    if (!found.ok()) return FailExec(options, found.status());
    auto process = MakeProcess(found->state.spec.process, std::move(rest));
    if (!process.ok()) return FailExec(options, process.status());
    exec_.process = *std::move(process);
    auto code = ExecInContainer(found->dir, found->state, exec_);
    return code.ok() ? *code : FailExec(options, code.status());
  }

 private:
  // 255 marks an error of the runtime, as runc has it; a program's own codes are smaller.
  static int FailExec(const cli::GlobalOptions& options, const absl::Status& status) {
    const int code = Fail(options, status);
    return code == 1 ? 255 : code;
  }

  absl::StatusOr<spec::Process> MakeProcess(spec::Process process, std::vector<std::string> args) const {
    if (!process_file_.empty()) {
      auto text = ReadDocument(process_file_);
      if (!text.ok()) return text.status();
      auto parsed = spec::ParseProcess(*text);
      if (parsed.ok() && tty_) parsed->terminal = true;
      return parsed;
    }
    if (args.empty()) return absl::InvalidArgumentError("exec: process args cannot be empty");
    process.args = std::move(args);
    process.terminal = tty_;
    if (!cwd_.empty()) process.cwd = cwd_;
    process.env.insert(process.env.end(), env_.begin(), env_.end());
    process.no_new_privileges = process.no_new_privileges || no_new_privs_;
    if (!caps_.empty()) {
      spec::Capabilities& sets = process.capabilities ? *process.capabilities : process.capabilities.emplace();
      for (auto* set : {&sets.bounding, &sets.effective, &sets.permitted})
        set->insert(set->end(), caps_.begin(), caps_.end());
    }
    for (const uint32_t gid : gids_) process.user.additional_gids.push_back(gid);
    if (user_.empty()) return process;
    const std::vector<std::string> ids = absl::StrSplit(user_, absl::MaxSplits(':', 1));
    if (!absl::SimpleAtoi(ids[0], &process.user.uid) ||
        (ids.size() > 1 && !absl::SimpleAtoi(ids[1], &process.user.gid))) {
      return absl::InvalidArgumentError("exec: --user wants UID[:GID]");
    }
    return process;
  }

  const cli::Parser* parser_ = nullptr;
  ExecOptions exec_;
  std::string process_file_, cwd_, user_, ignored_;
  std::vector<std::string> env_, caps_;
  std::vector<uint32_t> gids_;
  bool tty_ = false, no_new_privs_ = false;
};

const cli::CommandRegistration registration(std::make_unique<Exec>());

}  // namespace
}  // namespace sandbox::cmd
