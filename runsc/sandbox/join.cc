// A further container of a running sandbox: a gofer that stands for it, and a request to the sentry.
#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "gofer/protocol/channel.h"
#include "runsc/control/message.h"
#include "runsc/sandbox/gofer_process.h"
#include "runsc/sandbox/launch.h"
#include "runsc/sandbox/open_trees.h"

namespace sandbox {
namespace {

// In the order of boot::kJoin….
std::vector<BorrowedFd> JoinDescriptors(const SandboxOptions& options, BorrowedFd config, BorrowedFd gofer,
                                        BorrowedFd stand_in, BorrowedFd null) {
  std::vector<BorrowedFd> fds = {config, gofer, stand_in};
  for (int stream = 0; stream < 3; ++stream) {
    // Descriptors cannot be passed with gaps: a closed stream of ours is /dev/null there.
    const BorrowedFd own = ::fcntl(stream, F_GETFD) < 0 ? null : BorrowedFd(stream);
    fds.push_back(options.terminal.valid() ? options.terminal : own);
  }
  for (const auto& [name, fd] : options.cgroup_files) fds.push_back(fd);
  fds.insert(fds.end(), options.cgroup_procs.begin(), options.cgroup_procs.end());
  fds.insert(fds.end(), options.preserved.begin(), options.preserved.end());
  return fds;
}

}  // namespace

absl::StatusOr<Sandbox> Sandbox::Join(SandboxOptions options, UniqueFd control) {
  Sandbox joined;
  joined.boot_ = std::move(control);
  auto channel = gofer::Channel::MakePair();
  if (!channel.ok()) return absl::InternalError("gofer socket pair");
  auto opened = OpenTrees(options.trees);
  if (!opened.ok()) return opened.status();
  CompleteConfig(options);
  auto config = ConfigFile(options.config);
  if (!config.ok()) return config.status();
  auto pair = SocketPair();
  if (!pair.ok()) return pair.status();
  GoferStandIn stand_in;
  stand_in.connection = std::move(pair->second);
  stand_in.terminal = options.terminal;
  stand_in.record = options.record;
  stand_in.title = options.config.spec.process.args;
  if (options.hooks) {
    if (auto status = joined.MakeGate(stand_in.gate); !status.ok()) return status;
  }
  auto child = GoferOptions(options.config);
  if (!child.ok()) return child.status();
  child->place = options.place;
  // The sandbox's, as whoever asks for it has checked.
  auto time = TimeNamespaceOf(options.config.spec);
  if (!time.ok()) return time.status();
  if (time->valid()) child->join.emplace_back(CLONE_NEWTIME, *std::move(time));
  auto gofer =
      StartGofer(*std::move(child), *opened, channel->first.borrow(), options.log_fd, options.trees, &stand_in);
  if (!gofer.ok()) return gofer.status();
  joined.gofer_ = *gofer;
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto fds =
      JoinDescriptors(options, config->borrow(), channel->second.borrow(), pair->first.borrow(), null.borrow());
  const control::Message request = {control::Message::Kind::kCreate, 0, "", options.config.id};
  if (auto status = control::Send(joined.boot_.borrow(), request, fds); !status.ok()) return status;
  return joined;
}

}  // namespace sandbox
