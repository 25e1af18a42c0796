// What happens on a shared mount happens on its peers and slaves (mount_namespaces(7); Linux: fs/pnode.c).
#pragma once

#include <utility>
#include <vector>

#include "sentry/vfs/mount.h"

namespace sandbox {

// Copies of a mount tree, as the operations on mounts make them (Linux: copy_tree, clone_mnt).
class MountCopier {
 public:
  bool recursive = true;
  bool unbindable_too = false;
  bool as_slave = false;         // of the original's peers
  bool peers_as_slaves = false;  // shared ones become slaves of their originals
  bool make_shared = false;
  // The copies, the root of the tree first, attached to each other; `from` from `root` on. ENOSPC.
  Result<std::vector<MountRef>> Copy(const MountRef& from, const DentryRef& root) const REQUIRES(mount_tree_mu);
  // For copies that are not used.
  static void Discard(const std::vector<MountRef>& copies) REQUIRES(mount_tree_mu);

 private:
  MountRef CopyOne(const Mount& mount, const DentryRef& root) const REQUIRES(mount_tree_mu);
};

class Propagation {
 public:
  // Copies of `tree` for everyone who is told by `point`'s mount; nothing is attached yet, nobody is told.
  Result<void> Plan(const MountRef& tree, const Path& point) REQUIRES(mount_tree_mu);
  // Attaches what was planned, below what is mounted there already.
  void Carry() REQUIRES(mount_tree_mu);
  void Drop() REQUIRES(mount_tree_mu);

  // Adds to `gone`, mounts that are being taken off, their copies on peers. EBUSY when one of them is in use, unless
  // `detach`.
  static Result<void> Unmount(std::vector<MountRef>& gone, bool detach) REQUIRES(mount_tree_mu);
  // Below what is mounted on `point` already.
  static void AttachBelow(const MountRef& mount, const Path& point) REQUIRES(mount_tree_mu);

 private:
  Result<void> PlanSlaves(const PeerGroup& group, const MountRef& original) REQUIRES(mount_tree_mu);
  // One more copy of `original`, for `mount`; null where the place is out of its sight.
  Result<MountRef> PlanOne(Mount& mount, const MountRef& original, bool as_slave, bool shared) REQUIRES(mount_tree_mu);

  const MountNamespace* from_ns_ = nullptr;
  DentryRef place_;
  size_t planned_ = 0;  // mounts
  std::vector<const PeerGroup*> done_;
  struct Copy {
    MountRef onto;
    std::vector<MountRef> tree;
  };
  std::vector<Copy> copies_;
};

}  // namespace sandbox
