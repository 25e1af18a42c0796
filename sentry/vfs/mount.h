// Mounts and mount namespaces (Linux: struct mount, struct mnt_namespace; mount_namespaces(7)).
//
//   mount.cc       a mount, where it is attached, the namespace's list     mount_tree.cc   copies, binds, moves
//   peer_group.cc  propagation types                                      propagation.cc  events between peers
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/namespace.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/path.h"

namespace sandbox {

// MS_* bits kept per mount: MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NODIRATIME, MS_RELATIME,
// MS_STRICTATIME, MS_NOSYMFOLLOW.
using MountFlags = unsigned long;
extern const MountFlags kMountFlagsMask;

class MountNamespace;
struct PeerGroup;

// The trees of all namespaces change under this one lock, since events cross them (Linux: namespace_sem).
extern Mutex mount_tree_mu;

// One file system (or a part of it: a bind mount) at one place. Belongs to at most one namespace; a detached mount
// lives on as long as something is open in it. A mount holds the path it is mounted on; that path's mount knows it
// in turn until the mount is taken off, which is what breaks the cycle.
class Mount : public RefFromThis<Mount> {
 public:
  Mount(RefPtr<FileSystem> fs, DentryRef root, MountFlags flags, std::string source);
  ~Mount();
  const RefPtr<FileSystem>& fs() const { return fs_; }
  const DentryRef& root() const { return root_; }
  const std::string& source() const { return source_; }
  MountFlags flags() const { return flags_.load(std::memory_order_relaxed); }
  void set_flags(MountFlags flags) { flags_.store(flags, std::memory_order_relaxed); }
  bool read_only() const;
  uint32_t id() const { return id_; }
  // Never used again (STATX_MNT_ID_UNIQUE); Linux's begin there too.
  uint64_t unique_id() const { return (uint64_t{1} << 31) + id_; }
  Path point() const;  // where it is mounted; empty for the namespace's root and detached mounts
  // What is mounted on `dentry` of this mount, or null.
  MountRef ChildOn(const Dentry& dentry) const;

  // Descriptions open for writing: a remount read-only gives EBUSY while there are any.
  void AddWriter() { writers_.fetch_add(1, std::memory_order_relaxed); }
  void RemoveWriter() { writers_.fetch_sub(1, std::memory_order_relaxed); }
  bool HasWriters() const { return writers_.load(std::memory_order_relaxed) > 0; }

  // Path walks that came here through its mount point (MNT_EXPIRE).
  void CountCrossing() { crossings_.fetch_add(1, std::memory_order_relaxed); }
  uint32_t crossings() const { return crossings_.load(std::memory_order_relaxed); }

  // --- Propagation (peer_group.cc). Unbindable is a private mount that binds refuse. ---
  const RefPtr<PeerGroup>& peers() const REQUIRES(mount_tree_mu) { return peers_; }    // null = not shared
  const RefPtr<PeerGroup>& master() const REQUIRES(mount_tree_mu) { return master_; }  // null = no slave
  bool unbindable() const REQUIRES(mount_tree_mu) { return unbindable_; }
  void SetPropagation(unsigned long type) REQUIRES(mount_tree_mu);  // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE
  void JoinPeers(RefPtr<PeerGroup> group) REQUIRES(mount_tree_mu);
  void BecomeSlaveOf(RefPtr<PeerGroup> group) REQUIRES(mount_tree_mu);

  // --- What a less privileged mount namespace may not undo (Linux: MNT_LOCKED, MNT_LOCK_*). ---
  bool locked() const REQUIRES(mount_tree_mu) { return locked_; }
  void set_locked(bool locked) REQUIRES(mount_tree_mu) { locked_ = locked; }
  void LockFlags() REQUIRES(mount_tree_mu);
  // Whether the locked ones among its flags are the same in `flags`.
  bool MayHaveFlags(MountFlags flags) const REQUIRES(mount_tree_mu);

  MountNamespace* ns() const REQUIRES(mount_tree_mu) { return ns_; }  // null = detached, or not attached yet

 private:
  friend class MountNamespace;
  friend class Propagation;
  friend class MountCopier;
  struct Child {
    Dentry* on;
    MountRef mount;
  };
  const RefPtr<FileSystem> fs_;
  const DentryRef root_;
  const std::string source_;
  const uint32_t id_;
  std::atomic<MountFlags> flags_;
  std::atomic<int> writers_{0};
  std::atomic<uint32_t> crossings_{0};
  uint32_t expire_at_ GUARDED_BY(mount_tree_mu) = 0;  // crossings when MNT_EXPIRE marked it, plus one; 0 = unmarked
  RefPtr<PeerGroup> peers_ GUARDED_BY(mount_tree_mu), master_ GUARDED_BY(mount_tree_mu);
  bool unbindable_ GUARDED_BY(mount_tree_mu) = false;
  bool locked_ GUARDED_BY(mount_tree_mu) = false;
  MountFlags locked_flags_ GUARDED_BY(mount_tree_mu) = 0;  // bits that must stay as they are
  MountNamespace* ns_ GUARDED_BY(mount_tree_mu) = nullptr;
  // Walks read these without the tree's lock.
  mutable Mutex mu_{LockRank::kLeaf};
  Path point_ GUARDED_BY(mu_);
  std::vector<Child> children_ GUARDED_BY(mu_);
};

// One line of /proc/self/mountinfo.
struct MountInfo {
  MountRef mount;
  uint32_t parent_id = 0;
  uint64_t parent_unique_id = 0;
  uint32_t shared = 0, master = 0, from = 0;  // peer groups; 0 = none. `from`: the nearest one below the asked root
  unsigned long propagation = 0;              // MS_SHARED | MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE
};

class MountNamespace : public Namespace, public RefFromThis<MountNamespace> {
 public:
  MountNamespace();  // an initial one
  explicit MountNamespace(RefPtr<UserNamespace> owner);
  ~MountNamespace();
  // A namespace whose root is `fs`.
  static RefPtr<MountNamespace> Create(RefPtr<FileSystem> fs, MountFlags flags, std::string source);
  // A tree that is mounted nowhere yet (fsmount(2), open_tree(2)); it goes with the namespace.
  static RefPtr<MountNamespace> Detached(RefPtr<UserNamespace> owner, MountRef mount);
  Path root() const;

  // Mounts `fs` (rooted at `fs_root`, null = its root) on `point`, above what is mounted there already. ENOTDIR when
  // one of the two is a directory and the other is not, ENOENT when `point` was unlinked, EINVAL when `point` is not
  // in this namespace, ENOSPC for too many mounts.
  Result<MountRef> MountAt(const Path& point, RefPtr<FileSystem> fs, DentryRef fs_root, MountFlags flags,
                           std::string source);
  // MS_BIND: shows `from` at `point`; `recursive` (MS_REC) with the mounts below it.
  Result<MountRef> Bind(const Path& from, const Path& point, bool recursive);
  // OPEN_TREE_CLONE: the same, mounted nowhere.
  Result<RefPtr<MountNamespace>> BindDetached(const Path& from, bool recursive);
  // EINVAL when `path` is not a mount's root; EBUSY for children or open files unless `detach` (MNT_DETACH). The only
  // Path of the caller into the mount is `path` itself: any other reference counts as use.
  Result<void> Unmount(const Path& path, bool detach);
  // MNT_EXPIRE: EAGAIN the first time, and again when the mount was used since; then as Unmount.
  Result<void> Expire(const Path& path);
  // `from` may be in another namespace if that is a detached tree.
  Result<void> Move(const Path& from, const Path& to);
  // pivot_root(2) of a caller whose root is `root`: EBUSY, EINVAL.
  Result<void> PivotRoot(const Path& root, const Path& new_root, const Path& put_old);
  // mount(2) with MS_SHARED … of the mount whose root `path` is. EINVAL.
  Result<void> SetPropagation(const Path& path, unsigned long type, bool recursive);
  // MOVE_MOUNT_SET_GROUP: `to` joins the peers and the master of `from`.
  static Result<void> CopyPropagation(const Path& from, const Path& to);
  // Changes flags of the mount whose root `path` is (`recursive`: and of those below): sets `set` after clearing
  // `clear`, all or none, and then the propagation type unless 0. EPERM for locked ones, EBUSY for writers.
  static Result<void> ChangeFlags(const Path& path, MountFlags set, MountFlags clear, unsigned long propagation,
                                  bool recursive);
  // Follows mounts stacked on `path` to the top.
  Path Traverse(Path path) const;
  // In mount order. `root`: as which process sees it; null = the namespace's own.
  std::vector<MountInfo> List(const Path* root = nullptr) const;
  bool Contains(const MountRef& mount) const;
  bool detached_tree() const { return detached_tree_; }
  // CLONE_NEWNS, for `owner`. `carried` (root, cwd of the caller) are moved to the corresponding mounts of the copy.
  RefPtr<MountNamespace> Clone(RefPtr<UserNamespace> owner, std::span<Path* const> carried = {}) const;

 private:
  friend class Propagation;
  friend class MountCopier;
  static constexpr size_t kMaxMounts = 100'000;  // fs.mount-max

  static void Attach(const MountRef& mount, const Path& point) REQUIRES(mount_tree_mu);
  static void Detach(const MountRef& mount) REQUIRES(mount_tree_mu);
  static std::vector<MountRef> SubtreeLocked(const MountRef& mount) REQUIRES(mount_tree_mu);
  bool ContainsLocked(const MountRef& mount) const REQUIRES(mount_tree_mu);
  void TakeIn(const std::vector<MountRef>& tree) REQUIRES(mount_tree_mu);
  // Attaches a tree of mounts, `tree` and all below it, and tells the peers of `point`.
  Result<void> AttachTree(const MountRef& tree, const Path& point) REQUIRES(mount_tree_mu);
  Result<std::vector<MountRef>> CopyForBind(const Path& from, bool recursive) REQUIRES(mount_tree_mu);
  Result<void> CheckUnmount(const Path& path) const REQUIRES(mount_tree_mu);
  Result<void> UnmountLocked(const Path& path, bool detach, std::vector<MountRef>& gone) REQUIRES(mount_tree_mu);
  Result<void> CheckMove(const Path& from, const Path& to) const REQUIRES(mount_tree_mu);

  std::vector<MountRef> mounts_ GUARDED_BY(mount_tree_mu);  // mount order
  MountRef root_ GUARDED_BY(mount_tree_mu);
  bool detached_tree_ = false;
};

// Follows mounts stacked on `path` to the top. Cheap when nothing is mounted there.
void TraverseMounts(Path& path);

// Text of `path` as seen from `root`, with " (deleted)" as Linux prints it (d_path). A path outside `root` is shown
// from the top of its mount tree.
std::string PathToString(const Path& path, const Path& root);
// The same without the mark; false when `path` is not below `root` (getcwd's "(unreachable)").
bool FormatPath(const Path& path, const Path& root, std::string& out);
// Where a dentry is in its own file system ("/" for the root): the root column of mountinfo.
std::string PathInFileSystem(const FileSystem& fs, const DentryRef& dentry);

}  // namespace sandbox
