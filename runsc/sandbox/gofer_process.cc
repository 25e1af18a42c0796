#include "runsc/sandbox/gofer_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "gofer/server/host_fs.h"
#include "gofer/server/main.h"
#include "runsc/cli/title.h"
#include "runsc/sandbox/container_view.h"
#include "runsc/sandbox/stand_in.h"

namespace sandbox {
namespace {

// Numbers of the gofer's descriptors; trees follow the connection.
constexpr int kConnectionFd = 3;
constexpr int kLogFd = 4;
constexpr int kStandInFd = 5;
constexpr int kSentryFd = 6;
constexpr int kTerminalFd = 7;
constexpr int kRecordFd = 8;
constexpr int kGateFd = 9;
constexpr int kFirstTreeFd = 10;

void AddStandInFds(ChildOptions& options, const GoferStandIn& stand_in, int log_fd) {
  options.fds.emplace_back(stand_in.connection.borrow(), kStandInFd);
  if (stand_in.sentry.valid()) options.fds.emplace_back(stand_in.sentry.borrow(), kSentryFd);
  if (stand_in.terminal.valid()) options.fds.emplace_back(stand_in.terminal, kTerminalFd);
  if (stand_in.record.valid()) options.fds.emplace_back(stand_in.record, kRecordFd);
  if (stand_in.gate.valid()) options.fds.emplace_back(stand_in.gate.borrow(), kGateFd);
  // The caller reads its streams to their end, which must be the container's.
  for (int stream = 0; stream < 3; ++stream) options.fds.emplace_back(BorrowedFd(log_fd), stream);
}

// Between the two bytes runsc runs hooks in this mount namespace. What they mounted in the root is then part of it, but
// not what is mounted there for the host's eyes afterwards.
absl::Status WaitForHooks(BorrowedFd root, gofer::Tree& tree) {
  const UniqueFd gate(kGateFd);
  char byte = 0;
  if (::write(gate.get(), &byte, 1) != 1 || ::read(gate.get(), &byte, 1) != 1)
    return absl::UnavailableError("runsc is gone");
  const long copy =
      ::syscall(SYS_open_tree, root.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
  if (copy < 0) return absl::InternalError(absl::StrCat("the root with the mounts of hooks: ", std::strerror(errno)));
  tree.root.reset(static_cast<int>(copy));
  return absl::OkStatus();
}

absl::Status HooksAmongOthersMounts(const std::vector<HostTree>& view,
                                    const std::function<absl::Status(BorrowedFd root)>& hooks) {
  const UniqueFd root(::open(view[0].host_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return absl::NotFoundError(absl::StrCat(view[0].host_path, ": ", std::strerror(errno)));
  return hooks(root.borrow());
}

// A mount namespace that is not the gofer's alone is left as it is: the container is not shown there.
int GoferChild(const std::vector<bool>& readonly, const std::vector<HostTree>& view, const GoferStandIn* options,
               bool own_mounts) {
  if (own_mounts && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    std::fprintf(stderr, "runsc: gofer: making mounts private: %s\n", std::strerror(errno));
    return 1;
  }
  gofer::GoferOptions gofer;
  gofer.connection.reset(kConnectionFd);
  for (size_t i = 0; i < readonly.size(); ++i) {
    gofer.trees.push_back(gofer::Tree{readonly[i], UniqueFd(kFirstTreeFd + static_cast<int>(i))});
  }
  if (options != nullptr) {
    gofer.low_ports = options->low_ports;
    if (const auto ready = gofer::InitReopen(); !ready.ok()) return 1;
    std::function<absl::Status(BorrowedFd)> hooks;
    if (options->gate.valid()) hooks = [&](BorrowedFd root) { return WaitForHooks(root, gofer.trees[0]); };
    auto status = own_mounts ? EnterContainerView(view, gofer.trees[0].root.borrow(), hooks)
                  : hooks    ? HooksAmongOthersMounts(view, hooks)
                             : absl::OkStatus();
    if (!status.ok()) {
      LOGF(kWarning, "gofer: no view of the container for engines: %s", std::string(status.message()).c_str());
      if (hooks) return 1;
    } else {
      gofer.root = own_mounts ? gofer::RootPolicy::kKeep : gofer::RootPolicy::kEmpty;
    }
  }
  std::optional<StandIn> stand_in;
  if (options != nullptr) {
    stand_in.emplace(UniqueFd(kStandInFd), UniqueFd(options->sentry.valid() ? kSentryFd : -1),
                     UniqueFd(options->record.valid() ? kRecordFd : -1));
    const UniqueFd terminal(options->terminal.valid() ? kTerminalFd : -1);
    if (auto status = stand_in->Prepare(terminal.borrow()); !status.ok()) {
      std::fprintf(stderr, "runsc: gofer: %s\n", std::string(status.message()).c_str());
      return 1;
    }
    gofer.meanwhile = [&stand_in] { return stand_in->Run(); };
  }
  return gofer::GoferMain(std::move(gofer));
}

}  // namespace

absl::StatusOr<pid_t> StartGofer(ChildOptions options, const std::vector<gofer::Tree>& trees, BorrowedFd connection,
                                 int log_fd, const std::vector<HostTree>& view, const GoferStandIn* stand_in) {
  options.fds = {{connection, kConnectionFd}, {BorrowedFd(log_fd), kLogFd}};
  if (stand_in != nullptr) AddStandInFds(options, *stand_in, log_fd);
  std::vector<bool> readonly;
  for (const gofer::Tree& tree : trees) {
    options.fds.emplace_back(tree.root.borrow(), kFirstTreeFd + static_cast<int>(readonly.size()));
    readonly.push_back(tree.read_only);
  }
  const bool own_mounts = options.namespaces & CLONE_NEWNS;
  return StartChild(options, [&] {
    if (stand_in != nullptr) cli::SetTitle(stand_in->title);
    return GoferChild(readonly, view, stand_in, own_mounts);
  });
}

}  // namespace sandbox
