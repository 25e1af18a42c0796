// Descriptors of mounts that are not in a namespace yet (fsmount(2), open_tree(2)).
#pragma once

#include <fcntl.h>

#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

namespace sandbox::syscalls {

// O_PATH of the tree's root. When it is closed the tree is gone, unless move_mount(2) found it a place.
class TreeFile final : public FileDescription {
 public:
  explicit TreeFile(RefPtr<MountNamespace> tree) : FileDescription(tree->root(), O_PATH), tree_(std::move(tree)) {}

 private:
  const RefPtr<MountNamespace> tree_;
};

FileRef OpenDetachedTree(RefPtr<MountNamespace> tree);

}  // namespace sandbox::syscalls
