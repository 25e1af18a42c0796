// Copies of mount trees, and the operations that attach them (Linux: fs/namespace.c).
#include <sys/mount.h>

#include <algorithm>

#include "sentry/core/user_namespace.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/peer_group.h"
#include "sentry/vfs/propagation.h"

namespace sandbox {
namespace {

// Linux: is_path_reachable.
bool Reachable(Path from, const Path& top) {
  while (from.mount != top.mount) {
    from = from.mount->point();
    if (from.empty()) return false;
  }
  return from.dentry->IsBelow(*top.dentry);
}

bool IsShared(const MountRef& mount) REQUIRES(mount_tree_mu) { return mount != nullptr && mount->peers() != nullptr; }

bool IsRootOfMount(const Path& path) { return path.mount != nullptr && path.dentry == path.mount->root(); }

bool SameKind(const Path& a, const Path& b) {
  return a.inode()->IsDir(KernelContext()) == b.inode()->IsDir(KernelContext());
}

}  // namespace

MountRef MountCopier::CopyOne(const Mount& mount, const DentryRef& root) const {
  auto copy = MakeRef<Mount>(mount.fs(), root, mount.flags(), mount.source());
  copy->locked_ = mount.locked_;
  copy->locked_flags_ = mount.locked_flags_;
  copy->unbindable_ = mount.unbindable_;
  const bool shared = mount.peers() != nullptr;
  if (shared && (as_slave || peers_as_slaves)) {
    copy->BecomeSlaveOf(mount.peers());
  } else {
    if (shared) copy->JoinPeers(mount.peers());
    copy->BecomeSlaveOf(mount.master());
  }
  if (make_shared) copy->SetPropagation(MS_SHARED);
  return copy;
}

Result<std::vector<MountRef>> MountCopier::Copy(const MountRef& from, const DentryRef& root) const {
  std::vector<MountRef> originals = {from};
  std::vector<MountRef> copies = {CopyOne(*from, root)};
  for (size_t i = 0; recursive && i < originals.size(); ++i) {
    std::vector<Mount::Child> children;
    {
      MutexLock lock(originals[i]->mu_);
      children = originals[i]->children_;
    }
    for (const Mount::Child& child : children) {
      const Path point = child.mount->point();
      if (i == 0 && !point.dentry->IsBelow(*root)) continue;
      if (child.mount->unbindable() && !unbindable_too) continue;
      if (copies.size() >= MountNamespace::kMaxMounts) {
        Discard(copies);
        return Err(ENOSPC);
      }
      originals.push_back(child.mount);
      copies.push_back(CopyOne(*child.mount, child.mount->root()));
      MountNamespace::Attach(copies.back(), {copies[i], point.dentry});
    }
  }
  return copies;
}

void MountCopier::Discard(const std::vector<MountRef>& copies) {
  for (const MountRef& copy : copies) {
    MountNamespace::Detach(copy);
    copy->SetPropagation(MS_PRIVATE);
  }
}

// Linux: attach_recursive_mnt. `tree` is not attached yet.
Result<void> MountNamespace::AttachTree(const MountRef& tree, const Path& point) {
  Path top = point;
  TraverseMounts(top);
  const std::vector<MountRef> mounts = SubtreeLocked(tree);
  if (mounts_.size() + mounts.size() > kMaxMounts) return Err(ENOSPC);
  std::vector<MountRef> made_shared;
  if (IsShared(top.mount)) {
    for (const MountRef& mount : mounts) {
      if (mount->peers() != nullptr) continue;
      mount->SetPropagation(MS_SHARED);
      made_shared.push_back(mount);
    }
  }
  Propagation events;
  if (const auto planned = events.Plan(tree, top); !planned.ok()) {
    events.Drop();
    for (const MountRef& mount : made_shared) mount->SetPropagation(MS_PRIVATE);
    return planned;
  }
  Attach(tree, top);
  events.Carry();
  return {};
}

Result<MountRef> MountNamespace::MountAt(const Path& point, RefPtr<FileSystem> fs, DentryRef fs_root, MountFlags flags,
                                         std::string source) {
  auto mount = MakeRef<Mount>(std::move(fs), std::move(fs_root), flags, std::move(source));
  if (!SameKind({mount, mount->root()}, point)) return Err(ENOTDIR);
  MutexLock lock(mount_tree_mu);
  if (!ContainsLocked(point.mount)) return Err(EINVAL);
  if (point.dentry->IsDeleted()) return Err(ENOENT);
  TRY(AttachTree(mount, point));
  TakeIn({mount});
  return mount;
}

// Linux: __do_loopback.
Result<std::vector<MountRef>> MountNamespace::CopyForBind(const Path& from, bool recursive) {
  if (from.mount == nullptr || from.mount->unbindable()) return Err(EINVAL);
  // A bind from another namespace is refused, but for trees that are mounted nowhere.
  if (!ContainsLocked(from.mount) && !(from.mount->ns() != nullptr && from.mount->ns()->detached_tree_))
    return Err(EINVAL);
  if (from.dentry->IsDeleted()) return Err(ENOENT);
  if (!recursive) {
    // Nobody may see what a locked mount hides.
    MutexLock lock(from.mount->mu_);
    for (const Mount::Child& child : from.mount->children_) {
      if (child.mount->locked() && child.mount->point().dentry->IsBelow(*from.dentry)) return Err(EINVAL);
    }
  }
  MountCopier copier;
  copier.recursive = recursive;
  std::vector<MountRef> copies = TRY(copier.Copy(from.mount, from.dentry));
  copies.front()->set_locked(false);
  return copies;
}

Result<MountRef> MountNamespace::Bind(const Path& from, const Path& point, bool recursive) {
  if (!SameKind(from, point)) return Err(ENOTDIR);
  std::vector<MountRef> copies;  // released after the lock
  MutexLock lock(mount_tree_mu);
  if (!ContainsLocked(point.mount)) return Err(EINVAL);
  if (point.dentry->IsDeleted()) return Err(ENOENT);
  copies = TRY(CopyForBind(from, recursive));
  if (const auto attached = AttachTree(copies[0], point); !attached.ok()) {
    MountCopier::Discard(copies);
    return attached.error();
  }
  TakeIn(copies);
  return copies[0];
}

Result<RefPtr<MountNamespace>> MountNamespace::BindDetached(const Path& from, bool recursive) {
  std::vector<MountRef> copies;
  {
    MutexLock lock(mount_tree_mu);
    copies = TRY(CopyForBind(from, recursive));
  }
  return Detached(owner(), copies[0]);
}

Result<void> MountNamespace::CheckMove(const Path& from, const Path& to) const {
  if (!ContainsLocked(to.mount)) return Err(EINVAL);
  const MountNamespace* const source = from.mount->ns();
  const bool whole_detached_tree = source != nullptr && source->detached_tree_ && from.mount == source->root_;
  if (!ContainsLocked(from.mount) && !whole_detached_tree) return Err(EINVAL);
  if (from.mount == root_ || from.mount->locked()) return Err(EINVAL);
  if (to.dentry->IsDeleted()) return Err(ENOENT);
  if (IsShared(from.mount->point().mount)) return Err(EINVAL);
  if (IsShared(to.mount)) {
    for (const MountRef& mount : SubtreeLocked(from.mount)) {
      if (mount->unbindable()) return Err(EINVAL);
    }
  }
  for (MountRef at = to.mount; at != nullptr; at = at->point().mount) {
    if (at == from.mount) return Err(ELOOP);
  }
  return {};
}

Result<void> MountNamespace::Move(const Path& from, const Path& to) {
  if (!IsRootOfMount(from)) return Err(EINVAL);
  if (!SameKind(from, to)) return Err(ENOTDIR);
  MutexLock lock(mount_tree_mu);
  TRY(CheckMove(from, to));
  const Path before = from.mount->point();
  Detach(from.mount);
  if (const auto attached = AttachTree(from.mount, to); !attached.ok()) {
    if (!before.empty()) Attach(from.mount, before);
    return attached;
  }
  MountNamespace* const source = from.mount->ns();
  if (source == this) return {};
  // A detached tree found its place; nothing is left of its namespace.
  const std::vector<MountRef> moved = std::exchange(source->mounts_, {});
  source->root_ = nullptr;
  TakeIn(moved);
  return {};
}

Result<void> MountNamespace::PivotRoot(const Path& root, const Path& new_root, const Path& put_old) {
  MutexLock lock(mount_tree_mu);
  if (!ContainsLocked(root.mount) || !ContainsLocked(new_root.mount) || !ContainsLocked(put_old.mount))
    return Err(EINVAL);
  if (IsShared(put_old.mount) || IsShared(new_root.mount->point().mount) || IsShared(root.mount->point().mount))
    return Err(EINVAL);
  if (new_root.mount->locked()) return Err(EINVAL);
  if (new_root.dentry->IsDeleted()) return Err(ENOENT);
  if (new_root.mount == root.mount || put_old.mount == root.mount) return Err(EBUSY);
  if (!IsRootOfMount(root) || !IsRootOfMount(new_root)) return Err(EINVAL);
  if (!Reachable(put_old, new_root) || !Reachable(new_root, root)) return Err(EINVAL);
  const Path root_point = root.mount->point();  // empty for the namespace's own root
  Path top = put_old;
  TraverseMounts(top);
  Detach(new_root.mount);
  if (!root_point.empty()) Detach(root.mount);
  if (root_ == root.mount) root_ = new_root.mount;
  new_root.mount->set_locked(root.mount->locked());
  root.mount->set_locked(false);
  Attach(root.mount, top);
  if (!root_point.empty()) Attach(new_root.mount, root_point);
  return {};
}

Result<void> MountNamespace::SetPropagation(const Path& path, unsigned long type, bool recursive) {
  if (!IsRootOfMount(path)) return Err(EINVAL);
  MutexLock lock(mount_tree_mu);
  if (!ContainsLocked(path.mount)) return Err(EINVAL);
  for (const MountRef& mount : recursive ? SubtreeLocked(path.mount) : std::vector<MountRef>{path.mount}) {
    mount->SetPropagation(type);
  }
  return {};
}

// Linux: do_set_group.
Result<void> MountNamespace::CopyPropagation(const Path& from, const Path& to) {
  if (!IsRootOfMount(from) || !IsRootOfMount(to)) return Err(EINVAL);
  MutexLock lock(mount_tree_mu);
  Mount &source = *from.mount, &target = *to.mount;
  if (source.ns() == nullptr || target.ns() == nullptr) return Err(EINVAL);
  if (source.fs() != target.fs() || !target.root()->IsBelow(*source.root())) return Err(EINVAL);
  if (target.peers() != nullptr || target.master() != nullptr) return Err(EINVAL);
  if (source.peers() == nullptr && source.master() == nullptr) return Err(EINVAL);
  // What is mounted on one would be seen on the other only later.
  {
    MutexLock source_lock(source.mu_);
    if (!source.children_.empty()) return Err(EINVAL);
  }
  target.BecomeSlaveOf(source.master());
  if (source.peers() != nullptr) target.JoinPeers(source.peers());
  return {};
}

Result<void> MountNamespace::ChangeFlags(const Path& path, MountFlags set, MountFlags clear, unsigned long propagation,
                                         bool recursive) {
  if (!IsRootOfMount(path)) return Err(EINVAL);
  MutexLock lock(mount_tree_mu);
  if (path.mount->ns() == nullptr) return Err(EINVAL);
  const auto tree = recursive ? SubtreeLocked(path.mount) : std::vector<MountRef>{path.mount};
  for (const MountRef& mount : tree) {
    const MountFlags flags = (mount->flags() & ~clear) | set;
    if (!mount->MayHaveFlags(flags)) return Err(EPERM);
    if ((flags & ~mount->flags() & MS_RDONLY) && mount->HasWriters()) return Err(EBUSY);
  }
  for (const MountRef& mount : tree) {
    mount->set_flags((mount->flags() & ~clear) | set);
    if (propagation != 0) mount->SetPropagation(propagation);
  }
  return {};
}

RefPtr<MountNamespace> MountNamespace::Clone(RefPtr<UserNamespace> owner, std::span<Path* const> carried) const {
  auto copy = MakeRef<MountNamespace>(std::move(owner));
  MutexLock lock(mount_tree_mu);
  MountCopier copier;
  copier.unbindable_too = true;
  copier.peers_as_slaves = copy->owner() != this->owner();
  const std::vector<MountRef> originals = SubtreeLocked(root_);
  const auto copies = copier.Copy(root_, root_->root());
  CHECK(copies.ok());  // no more than there are
  copy->root_ = copies->front();
  copy->TakeIn(*copies);
  if (copier.peers_as_slaves) {
    // Linux: lock_mnt_tree. A less privileged namespace may neither undo nor look below what it was given.
    for (const MountRef& mount : *copies) {
      mount->LockFlags();
      if (mount != copy->root_) mount->set_locked(true);
    }
  }
  // SubtreeLocked and the copier walk in the same order.
  for (Path* path : carried) {
    for (size_t i = 0; i < originals.size() && i < copies->size(); ++i) {
      if (originals[i] != path->mount) continue;
      path->mount = (*copies)[i];
      break;
    }
  }
  return copy;
}

}  // namespace sandbox
