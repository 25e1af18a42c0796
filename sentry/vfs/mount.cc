#include "sentry/vfs/mount.h"

#include <sched.h>
#include <sys/mount.h>

#include <algorithm>

#include "sentry/core/user_namespace.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/dentry_cache.h"
#include "sentry/vfs/peer_group.h"
#include "sentry/vfs/propagation.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

namespace sandbox {

const MountFlags kMountFlagsMask = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME |
                                   MS_RELATIME | MS_STRICTATIME | MS_NOSYMFOLLOW;

Mutex mount_tree_mu{LockRank::kMount};

namespace {

constexpr MountFlags kAtimeFlags = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;

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
      flags_(flags & kMountFlagsMask) {
  fs_->mount_count.fetch_add(1, std::memory_order_relaxed);
}

// It left its peers when it was taken off, or when the attempt to attach it failed.
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

// Linux: lock_mnt_tree.
void Mount::LockFlags() { locked_flags_ |= kAtimeFlags | (flags() & (MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC)); }

bool Mount::MayHaveFlags(MountFlags flags) const { return ((flags ^ this->flags()) & locked_flags_) == 0; }

void TraverseMounts(Path& path) {
  while (path.dentry->mounts_here.load(std::memory_order_acquire) > 0 && path.mount != nullptr) {
    MountRef child = path.mount->ChildOn(*path.dentry);
    if (child == nullptr) return;  // mounted on in another namespace or through another bind mount
    child->CountCrossing();
    path.dentry = child->root();
    path.mount = std::move(child);
  }
}

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

void MountNamespace::TakeIn(const std::vector<MountRef>& tree) {
  for (const MountRef& mount : tree) mount->ns_ = this;
  mounts_.insert(mounts_.end(), tree.begin(), tree.end());
}

RefPtr<MountNamespace> MountNamespace::Create(RefPtr<FileSystem> fs, MountFlags flags, std::string source) {
  auto ns = MakeRef<MountNamespace>();
  MutexLock lock(mount_tree_mu);
  ns->root_ = MakeRef<Mount>(std::move(fs), nullptr, flags, std::move(source));
  ns->TakeIn({ns->root_});
  return ns;
}

RefPtr<MountNamespace> MountNamespace::Detached(RefPtr<UserNamespace> owner, MountRef mount) {
  auto ns = MakeRef<MountNamespace>(std::move(owner));
  MutexLock lock(mount_tree_mu);
  ns->detached_tree_ = true;
  ns->root_ = std::move(mount);
  ns->TakeIn(SubtreeLocked(ns->root_));
  return ns;
}

MountNamespace::MountNamespace() : Namespace(CLONE_NEWNS, UserNamespace::Root(), kInitialMount) {}

MountNamespace::MountNamespace(RefPtr<UserNamespace> owner) : Namespace(CLONE_NEWNS, std::move(owner)) {}

// Its peers elsewhere keep what they have.
MountNamespace::~MountNamespace() {
  MutexLock lock(mount_tree_mu);
  for (const MountRef& mount : mounts_) {
    Detach(mount);
    mount->SetPropagation(MS_PRIVATE);
    mount->ns_ = nullptr;
  }
}

Path MountNamespace::root() const {
  MutexLock lock(mount_tree_mu);
  return {root_, root_->root()};
}

// False for null too: an object without a mount (a pipe found through /proc/self/fd).
bool MountNamespace::ContainsLocked(const MountRef& mount) const { return mount != nullptr && mount->ns_ == this; }

bool MountNamespace::Contains(const MountRef& mount) const {
  MutexLock lock(mount_tree_mu);
  return ContainsLocked(mount);
}

std::vector<MountRef> MountNamespace::SubtreeLocked(const MountRef& mount) {
  std::vector<MountRef> tree = {mount};
  for (size_t i = 0; i < tree.size(); ++i) {
    MutexLock lock(tree[i]->mu_);
    for (const Mount::Child& child : tree[i]->children_) tree.push_back(child.mount);
  }
  return tree;
}

Result<void> MountNamespace::CheckUnmount(const Path& path) const {
  if (path.mount == nullptr || path.dentry != path.mount->root() || !ContainsLocked(path.mount)) return Err(EINVAL);
  return path.mount->locked() ? Err(EINVAL) : Result<void>();
}

Result<void> MountNamespace::UnmountLocked(const Path& path, bool detach, std::vector<MountRef>& gone) {
  if (path.mount == root_) return Err(detach ? EINVAL : EBUSY);
  if (!detach) {
    // One reference each: mounts_, the parent's list, the caller's path.
    constexpr long kIdleReferences = 3;
    MutexLock mount_lock(path.mount->mu_);
    if (!path.mount->children_.empty() || path.mount.use_count() > kIdleReferences) return Err(EBUSY);
  }
  gone = SubtreeLocked(path.mount);
  TRY(Propagation::Unmount(gone, detach));
  for (const MountRef& mount : gone) {
    Detach(mount);
    mount->SetPropagation(MS_PRIVATE);
    std::erase(mount->ns_->mounts_, mount);
    mount->ns_ = nullptr;
  }
  return {};
}

Result<void> MountNamespace::Unmount(const Path& path, bool detach) {
  std::vector<MountRef> gone;  // released after the lock
  MutexLock lock(mount_tree_mu);
  TRY(CheckUnmount(path));
  return UnmountLocked(path, detach, gone);
}

Result<void> MountNamespace::Expire(const Path& path) {
  std::vector<MountRef> gone;  // released after the lock
  MutexLock lock(mount_tree_mu);
  TRY(CheckUnmount(path));
  Mount& mount = *path.mount;
  constexpr long kIdleReferences = 3;
  if (path.mount.use_count() > kIdleReferences) return Err(EBUSY);
  // The caller's own walk crossed it once.
  const bool unused = mount.expire_at_ != 0 && mount.crossings() == mount.expire_at_;
  mount.expire_at_ = mount.crossings() + 1;
  if (!unused) return Err(EAGAIN);
  return UnmountLocked(path, false, gone);
}

Path MountNamespace::Traverse(Path path) const {
  TraverseMounts(path);
  return path;
}

namespace {

// The nearest group above `mount` with a member that a process with that root can see (Linux: get_dominating_id).
uint32_t DominatingGroup(const Mount& mount, const Path& root) REQUIRES(mount_tree_mu) {
  for (const PeerGroup* group = mount.master().get(); group != nullptr;) {
    for (const Mount* const member : group->members) {
      std::string text;
      if (member->ns() != mount.ns()) continue;
      const MountRef held = std::const_pointer_cast<Mount>(member->shared_from_this());
      if (FormatPath({held, held->root()}, root, text)) return group->id;
    }
    group = group->members.empty() ? nullptr : group->members.front()->master().get();
  }
  return 0;
}

}  // namespace

std::vector<MountInfo> MountNamespace::List(const Path* root) const {
  std::vector<MountInfo> list;
  MutexLock lock(mount_tree_mu);
  const Path own{root_, root_->root()};
  for (const MountRef& mount : mounts_) {
    const MountRef parent = mount->point().mount;
    MountInfo info{.mount = mount, .parent_id = 1, .parent_unique_id = mount->unique_id()};
    if (parent != nullptr) {
      info.parent_id = parent->id();
      info.parent_unique_id = parent->unique_id();
    }
    if (mount->peers() != nullptr) info.shared = mount->peers()->id;
    if (mount->master() != nullptr) {
      info.master = mount->master()->id;
      info.from = DominatingGroup(*mount, root != nullptr ? *root : own);
    }
    info.propagation = (info.shared != 0 ? MS_SHARED : 0) | (info.master != 0 ? MS_SLAVE : 0);
    if (info.propagation == 0) info.propagation = mount->unbindable() ? MS_UNBINDABLE : MS_PRIVATE;
    list.push_back(std::move(info));
  }
  return list;
}

}  // namespace sandbox
