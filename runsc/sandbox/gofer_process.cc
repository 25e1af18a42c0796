#include "runsc/sandbox/gofer_process.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "gofer/server/main.h"

namespace sandbox {
namespace {

// Numbers of the gofer's descriptors; trees follow the connection.
constexpr int kConnectionFd = 3;
constexpr int kLogFd = 4;
constexpr int kFirstTreeFd = 5;

}  // namespace

absl::StatusOr<std::vector<gofer::Tree>> OpenTrees(const std::vector<HostTree>& trees) {
  std::vector<gofer::Tree> opened;
  for (const HostTree& tree : trees) {
    UniqueFd fd(::open(tree.host_path.c_str(), O_PATH | O_CLOEXEC));
    if (!fd.valid()) {
      const std::string text = absl::StrCat(tree.host_path, ": ", std::strerror(errno));
      return errno == ENOENT ? absl::NotFoundError(text) : absl::PermissionDeniedError(text);
    }
    opened.push_back(gofer::Tree{tree.readonly, std::move(fd)});
  }
  return opened;
}

absl::StatusOr<pid_t> StartGofer(ChildOptions options, const std::vector<gofer::Tree>& trees, BorrowedFd connection, int log_fd) {
  options.name = "runsc-gofer";
  options.fds = {{connection, kConnectionFd}, {BorrowedFd(log_fd), kLogFd}};
  std::vector<bool> readonly;
  for (const gofer::Tree& tree : trees) {
    options.fds.emplace_back(tree.root.borrow(), kFirstTreeFd + static_cast<int>(readonly.size()));
    readonly.push_back(tree.read_only);
  }
  return StartChild(options, [readonly] {
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      std::fprintf(stderr, "runsc: gofer: making mounts private: %s\n", std::strerror(errno));
      return 1;
    }
    gofer::GoferOptions gofer;
    gofer.connection.reset(kConnectionFd);
    for (size_t i = 0; i < readonly.size(); ++i) {
      gofer.trees.push_back(gofer::Tree{readonly[i], UniqueFd(kFirstTreeFd + static_cast<int>(i))});
    }
    return gofer::GoferMain(std::move(gofer));
  });
}

}  // namespace sandbox
