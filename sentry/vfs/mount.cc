#include "sentry/vfs/mount.h"

#include <sched.h>
#include <sys/mount.h>

#include <algorithm>

#include "sentry/core/user_namespace.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/dentry_cache.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

namespace sandbox {

const MountFlags kMountFlagsMask = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME |
                                   MS_RELATIME | MS_STRICTATIME | MS_NOSYMFOLLOW;

namespace {

uint32_t NextMountId() {
  static std::atomic<uint32_t> next{21};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

Mount::Mount(RefPtr<FileSystem> fs, DentryRef root, MountFlags flags, std::string source)
    : fs_(std::move(fs)),
      root_(root != nullptr ? std::move(root) : fs_->root_dentry()),
      source_(std::move(source)),
      id_(NextMountId()),
      flags_(flags & kMountFlagsMask),
      propagation_(MS_PRIVATE) {
  fs_->mount_count.fetch_add(1, std::memory_order_relaxed);
}

Mount::~Mount() {
  // The cache would keep the whole tree of a file system nobody can reach.
  if (fs_->mount_count.fetch_sub(1, std::memory_order_acq_rel) == 1) DentryCache::Get().DropDevice(fs_->device());
}

bool Mount::read_only() const { return flags() & MS_RDONLY; }

Path Mount::point() const {
  MutexLock lock(mu_);
  return point_;
}

MountRef Mount::ChildOn(const Dentry& dentry) const {
  MutexLock lock(mu_);
  for (const Child& child : children_) {
    if (child.on == &dentry) return child.mount;
  }
  return nullptr;
}

void TraverseMounts(Path& path) {
  while (path.dentry->mounts_here.load(std::memory_order_acquire) > 0 && path.mount != nullptr) {
    MountRef child = path.mount->ChildOn(*path.dentry);
    if (child == nullptr) return;  // mounted on in another namespace or through another bind mount
    path.dentry = child->root();
    path.mount = std::move(child);
  }
}

// Precondition of both: the namespace's lock is held; nothing else changes points and children.
void MountNamespace::Attach(const MountRef& mount, const Path& point) {
  point.dentry->mounts_here.fetch_add(1, std::memory_order_release);
  {
    MutexLock lock(mount->mu_);
    mount->point_ = point;
  }
  MutexLock lock(point.mount->mu_);
  point.mount->children_.push_back({point.dentry.get(), mount});
}

void MountNamespace::Detach(const MountRef& mount) {
  Path point;
  {
    MutexLock lock(mount->mu_);
    std::swap(point, mount->point_);
  }
  if (point.empty()) return;
  point.dentry->mounts_here.fetch_sub(1, std::memory_order_release);
  MutexLock lock(point.mount->mu_);
  std::erase_if(point.mount->children_, [&](const Mount::Child& child) { return child.mount == mount; });
}

RefPtr<MountNamespace> MountNamespace::Create(RefPtr<FileSystem> fs, MountFlags flags, std::string source) {
  auto ns = MakeRef<MountNamespace>();
  MutexLock lock(ns->mu_);
  ns->root_ = MakeRef<Mount>(std::move(fs), nullptr, flags, std::move(source));
  ns->mounts_.push_back(ns->root_);
  return ns;
}

MountNamespace::MountNamespace() : Namespace(CLONE_NEWNS, UserNamespace::Root(), kInitialMount) {}

MountNamespace::MountNamespace(RefPtr<UserNamespace> owner) : Namespace(CLONE_NEWNS, std::move(owner)) {}

MountNamespace::~MountNamespace() {
  for (const MountRef& mount : mounts_) Detach(mount);
}

Path MountNamespace::root() const {
  MutexLock lock(mu_);
  return {root_, root_->root()};
}

// False for null too: an object without a mount (a pipe found through /proc/self/fd).
bool MountNamespace::ContainsLocked(const MountRef& mount) const {
  return mount != nullptr && std::find(mounts_.begin(), mounts_.end(), mount) != mounts_.end();
}

bool MountNamespace::Contains(const MountRef& mount) const {
  MutexLock lock(mu_);
  return ContainsLocked(mount);
}

Result<MountRef> MountNamespace::MountAt(const Path& point, RefPtr<FileSystem> fs, DentryRef fs_root, MountFlags flags,
                                         std::string source) {
  auto mount = MakeRef<Mount>(std::move(fs), std::move(fs_root), flags, std::move(source));
  const bool root_is_dir = mount->root()->inode()->IsDir(KernelContext());
  if (root_is_dir != point.dentry->inode()->IsDir(KernelContext())) return Err(ENOTDIR);
  MutexLock lock(mu_);
  if (!ContainsLocked(point.mount)) return Err(EINVAL);
  if (point.dentry->IsDeleted()) return Err(ENOENT);
  Path top = point;
  TraverseMounts(top);
  Attach(mount, top);
  mounts_.push_back(mount);
  return mount;
}

std::vector<MountRef> MountNamespace::SubtreeLocked(const MountRef& mount) const {
  std::vector<MountRef> tree = {mount};
  for (size_t i = 0; i < tree.size(); ++i) {
    MutexLock lock(tree[i]->mu_);
    for (const Mount::Child& child : tree[i]->children_) tree.push_back(child.mount);
  }
  return tree;
}

std::vector<MountRef> MountNamespace::Subtree(const MountRef& mount) const {
  MutexLock lock(mu_);
  return SubtreeLocked(mount);
}

// A copy of `from` rooted at `root`, first, and (recursive) of the mounts below `root`, attached to each other.
std::vector<MountRef> MountNamespace::CopyTree(const MountRef& from, const DentryRef& root, bool recursive,
                                               bool unbindable_too) const {
  auto copy_of = [](const MountRef& mount, const DentryRef& at) {
    auto copy = MakeRef<Mount>(mount->fs(), at, mount->flags(), mount->source());
    copy->set_propagation(mount->propagation());
    return copy;
  };
  std::vector<MountRef> originals = {from};
  std::vector<MountRef> copies = {copy_of(from, root)};
  for (size_t i = 0; recursive && i < originals.size(); ++i) {
    std::vector<Mount::Child> children;
    {
      MutexLock lock(originals[i]->mu_);
      children = originals[i]->children_;
    }
    for (const Mount::Child& child : children) {
      const Path point = child.mount->point();
      if (i == 0 && !point.dentry->IsBelow(*root)) continue;
      if (child.mount->propagation() == MS_UNBINDABLE && !unbindable_too) continue;
      originals.push_back(child.mount);
      copies.push_back(copy_of(child.mount, child.mount->root()));
      Attach(copies.back(), {copies[i], point.dentry});
    }
  }
  return copies;
}

Result<MountRef> MountNamespace::Bind(const Path& from, const Path& point, bool recursive) {
  if (from.inode()->IsDir(KernelContext()) != point.inode()->IsDir(KernelContext())) return Err(ENOTDIR);
  if (from.mount == nullptr || from.mount->propagation() == MS_UNBINDABLE) return Err(EINVAL);
  MutexLock lock(mu_);
  // Linux: check_mnt on both; a bind from another namespace is refused.
  if (!ContainsLocked(point.mount) || !ContainsLocked(from.mount)) return Err(EINVAL);
  if (point.dentry->IsDeleted() || from.dentry->IsDeleted()) return Err(ENOENT);
  std::vector<MountRef> copies = CopyTree(from.mount, from.dentry, recursive, false);
  Path top = point;
  TraverseMounts(top);
  Attach(copies[0], top);
  mounts_.insert(mounts_.end(), copies.begin(), copies.end());
  return copies[0];
}

Result<void> MountNamespace::Unmount(const Path& path, bool detach) {
  std::vector<MountRef> gone;  // released after the lock
  MutexLock lock(mu_);
  if (path.mount == nullptr || path.dentry != path.mount->root() || !ContainsLocked(path.mount)) return Err(EINVAL);
  if (path.mount == root_) return Err(detach ? EINVAL : EBUSY);
  if (!detach) {
    // One reference each: mounts_, the parent's list, the caller's path.
    constexpr long kIdleReferences = 3;
    MutexLock mount_lock(path.mount->mu_);
    if (!path.mount->children_.empty() || path.mount.use_count() > kIdleReferences) return Err(EBUSY);
  }
  gone = SubtreeLocked(path.mount);
  for (const MountRef& mount : gone) {
    Detach(mount);
    std::erase(mounts_, mount);
  }
  return {};
}

Result<void> MountNamespace::Move(const Path& from, const Path& to) {
  if (from.mount == nullptr || from.dentry != from.mount->root()) return Err(EINVAL);
  if (from.inode()->IsDir(KernelContext()) != to.inode()->IsDir(KernelContext())) return Err(ENOTDIR);
  MutexLock lock(mu_);
  if (!ContainsLocked(from.mount) || !ContainsLocked(to.mount) || from.mount == root_) return Err(EINVAL);
  if (to.dentry->IsDeleted()) return Err(ENOENT);
  for (MountRef at = to.mount; at != nullptr; at = at->point().mount) {
    if (at == from.mount) return Err(ELOOP);
  }
  Path top = to;
  TraverseMounts(top);
  Detach(from.mount);
  Attach(from.mount, top);
  return {};
}

namespace {

// Linux: is_path_reachable.
bool Reachable(Path from, const Path& top) {
  while (from.mount != top.mount) {
    from = from.mount->point();
    if (from.empty()) return false;
  }
  return from.dentry->IsBelow(*top.dentry);
}

}  // namespace

Result<void> MountNamespace::PivotRoot(const Path& root, const Path& new_root, const Path& put_old) {
  MutexLock lock(mu_);
  if (!ContainsLocked(root.mount) || !ContainsLocked(new_root.mount) || !ContainsLocked(put_old.mount))
    return Err(EINVAL);
  if (put_old.mount->propagation() == MS_SHARED) return Err(EINVAL);
  for (const Mount* mount : {new_root.mount.get(), root.mount.get()}) {
    const Path point = mount->point();
    if (point.mount != nullptr && point.mount->propagation() == MS_SHARED) return Err(EINVAL);
  }
  if (new_root.mount == root.mount || put_old.mount == root.mount) return Err(EBUSY);
  if (root.dentry != root.mount->root() || new_root.dentry != new_root.mount->root()) return Err(EINVAL);
  if (!Reachable(put_old, new_root) || !Reachable(new_root, root)) return Err(EINVAL);
  const Path root_point = root.mount->point();  // empty for the namespace's own root
  Path top = put_old;
  TraverseMounts(top);
  Detach(new_root.mount);
  if (!root_point.empty()) Detach(root.mount);
  if (root_ == root.mount) root_ = new_root.mount;
  Attach(root.mount, top);
  if (!root_point.empty()) Attach(new_root.mount, root_point);
  return {};
}

MountRef MountNamespace::MountedOn(const Path& path) const {
  Path top = path;
  TraverseMounts(top);
  return top.mount == path.mount ? nullptr : top.mount;
}

Path MountNamespace::Traverse(Path path) const {
  TraverseMounts(path);
  return path;
}

std::vector<MountInfo> MountNamespace::List() const {
  std::vector<MountInfo> list;
  MutexLock lock(mu_);
  for (const MountRef& mount : mounts_) {
    const MountRef parent = mount->point().mount;
    list.push_back({mount, parent != nullptr ? parent->id() : 1});
  }
  return list;
}

RefPtr<MountNamespace> MountNamespace::Clone(RefPtr<UserNamespace> owner, std::span<Path* const> carried) const {
  auto copy = MakeRef<MountNamespace>(std::move(owner));
  MutexLock lock(mu_);
  MutexLock copy_lock(copy->mu_);  // equal rank: nobody else knows the copy yet
  std::vector<MountRef> originals = SubtreeLocked(root_);
  copy->mounts_ = CopyTree(root_, root_->root(), true, true);
  copy->root_ = copy->mounts_[0];
  // SubtreeLocked and CopyTree walk in the same order.
  for (Path* path : carried) {
    for (size_t i = 0; i < originals.size() && i < copy->mounts_.size(); ++i) {
      if (originals[i] != path->mount) continue;
      path->mount = copy->mounts_[i];
      break;
    }
  }
  return copy;
}

}  // namespace sandbox
