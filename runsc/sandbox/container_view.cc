#include "runsc/sandbox/container_view.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace sandbox {
namespace {

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

// A place below the root, resolved as the container would: its symbolic links are the image's, not to be trusted.
UniqueFd OpenInRoot(BorrowedFd root, const std::string& path) {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof(how))));
}

std::string Name(const UniqueFd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

void ShowTree(BorrowedFd root, const HostTree& tree) {
  const UniqueFd point = OpenInRoot(root, tree.destination);
  if (!point.valid() || ::mount(tree.host_path.c_str(), Name(point).c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    return;
  if (!tree.readonly) return;
  const UniqueFd mounted = OpenInRoot(root, tree.destination);
  if (mounted.valid())
    (void)::mount(nullptr, Name(mounted).c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr);
}

}  // namespace

absl::Status EnterContainerView(const std::vector<HostTree>& trees, BorrowedFd root_tree,
                                const std::function<absl::Status(BorrowedFd root)>& built) {
  const std::string& path = trees[0].host_path;
  // pivot_root(2) wants a mount of its own. An overlay is one, held by its descriptor alone so far.
  const bool mounted = trees[0].upper.empty()
                           ? ::mount(path.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0
                           : ::move_mount(root_tree.get(), "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0;
  if (!mounted) return Failed("binding the root");
  const UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return Failed("opening the root");
  for (size_t i = 1; i < trees.size(); ++i) ShowTree(root.borrow(), trees[i]);
  if (built) {
    if (auto status = built(root.borrow()); !status.ok()) return status;
  }
  const UniqueFd proc = OpenInRoot(root.borrow(), "/proc");
  // Read-only: the gofer is root and its kernel settings are the host's.
  constexpr unsigned long kProcFlags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (proc.valid()) (void)::mount("proc", Name(proc).c_str(), "proc", kProcFlags, nullptr);
  if (::fchdir(root.get()) != 0) return Failed("entering the root");
  // Stacks the old root on the new one, so that no folder for it is needed (pivot_root(2)).
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return Failed("pivot_root");
  if (::umount2(".", MNT_DETACH) != 0) return Failed("detaching the host's root");
  return ::chdir("/") == 0 ? absl::OkStatus() : Failed("chdir");
}

}  // namespace sandbox
