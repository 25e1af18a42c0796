// runsc run: create and start; in the foreground also wait and delete.
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "runsc/cmd/container_commands.h"
#include "runsc/container/console.h"
#include "runsc/sandbox/stand_in.h"

namespace sandbox::cmd {
namespace {

class RunCommand final : public cli::Command {
 public:
  const char* name() const override { return "run"; }
  const char* help() const override { return "Create and start a container from a bundle"; }
  void Configure(cli::Parser& parser) override {
    AddCreateOptions(parser, create_);
    parser.Flag("-d,--detach", detach_, "Return once the container runs");
    parser.Flag("--keep", keep_, "Do not delete the container after its end");
    parser.Ignored("--no-subreaper", false, "Accepted; nothing but the container's process is waited for");
  }
  int Run(const cli::GlobalOptions& options) override {
    create_.foreground = !detach_;
    auto created = CreateContainer(options, create_);
    if (!created.ok()) return Fail(options, created.status());
    if (!detach_) HoldSignals();
    auto status = Start(options, created->dir, created->state);
    if (detach_ && status.ok()) return 0;
    int code = 0;
    if (status.ok()) {
      const pid_t pid = created->state.container.pid;
      const UniqueFd master = std::move(created->master), console_elsewhere;
      // The lock is for changes; others may work on a running container.
      created->dir.Unlock();
      code = Serve(pid, create_.console_socket.empty() ? master.borrow() : console_elsewhere.borrow());
    } else {
      code = Fail(options, status);
      created->dir.Unlock();
    }
    if (keep_) return code;
    // Somebody else may have deleted it.
    status = Delete(options, create_.id, true);
    return status.ok() || absl::IsNotFound(status) ? code : Fail(options, status);
  }

 private:
  static int Serve(pid_t pid, BorrowedFd master) {
    const UniqueFd until(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    (void)ServeForeground(master, until.borrow(), [&](int signo) { ::kill(pid, signo); });
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return ExitCodeOfWait(status);
  }

  CreateOptions create_;
  bool detach_ = false;
  bool keep_ = false;
};

const cli::CommandRegistration registration(std::make_unique<RunCommand>());

}  // namespace
}  // namespace sandbox::cmd
