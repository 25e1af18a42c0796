#include "runsc/sandbox/open_trees.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sandbox {
namespace {

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

// A colon parts folders in the settings of an overlayfs, and a backslash takes that from it.
std::string Escaped(const std::string& path) {
  std::string text;
  for (const char c : path) {
    if (c == ':' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

// An overlayfs of the host: `lower` as it is, with all changes in folders of `upper` (fsopen(2)).
absl::StatusOr<UniqueFd> MountOverlay(const std::string& lower, const std::string& upper) {
  const std::string top = upper + "/upper", work = upper + "/work";
  for (const std::string& folder : {top, work}) {
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return Failed(folder);
  }
  // The root of the two together has the upper folder's owner and mode.
  struct stat st;
  if (::stat(lower.c_str(), &st) != 0 || ::chown(top.c_str(), st.st_uid, st.st_gid) != 0 ||
      ::chmod(top.c_str(), st.st_mode & 07777) != 0) {
    return Failed(top);
  }
  const UniqueFd context(::fsopen("overlay", FSOPEN_CLOEXEC));
  if (!context.valid()) return Failed("overlay");
  const std::pair<const char*, const std::string*> settings[] = {
      {"lowerdir", &lower}, {"upperdir", &top}, {"workdir", &work}};
  for (const auto& [key, value] : settings) {
    if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, Escaped(*value).c_str(), 0) != 0)
      return Failed("overlay: " + *value);
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return Failed(absl::StrCat("overlay of ", lower, " and ", upper));
  UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  if (!mount.valid()) return Failed("overlay: fsmount");
  return mount;
}

// The tree as it is mounted now: what the host mounts and unmounts there later does not show. Invalid for who may not:
// then it does.
UniqueFd OwnCopy(const HostTree& tree) {
  const unsigned depth = tree.mounts == TreeMounts::kCopyAll ? AT_RECURSIVE : 0;
  UniqueFd copy(::open_tree(AT_FDCWD, tree.host_path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | depth));
  mount_attr attributes = {};
  attributes.propagation = MS_PRIVATE;
  if (copy.valid() && ::mount_setattr(copy.get(), "", AT_EMPTY_PATH | depth, &attributes, sizeof(attributes)) != 0)
    copy.reset();
  return copy;
}

absl::StatusOr<UniqueFd> OpenTree(const HostTree& tree) {
  if (!tree.upper.empty()) return MountOverlay(tree.host_path, tree.upper);
  UniqueFd fd;
  if (tree.mounts != TreeMounts::kFollow) fd = OwnCopy(tree);
  if (!fd.valid()) fd.reset(::open(tree.host_path.c_str(), O_PATH | O_CLOEXEC));
  if (fd.valid()) return fd;
  const std::string text = absl::StrCat(tree.host_path, ": ", std::strerror(errno));
  return errno == ENOENT ? absl::NotFoundError(text) : absl::PermissionDeniedError(text);
}

}  // namespace

absl::StatusOr<std::vector<gofer::Tree>> OpenTrees(const std::vector<HostTree>& trees) {
  std::vector<gofer::Tree> opened;
  for (const HostTree& tree : trees) {
    auto fd = OpenTree(tree);
    if (!fd.ok()) return fd.status();
    opened.push_back(gofer::Tree{tree.readonly, *std::move(fd)});
  }
  return opened;
}

}  // namespace sandbox
