// Mounts and mount namespaces (Linux: struct mount, struct mnt_namespace).
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
  Path point() const;  // where it is mounted; empty for the namespace's root and detached mounts
  // What is mounted on `dentry` of this mount, or null.
  MountRef ChildOn(const Dentry& dentry) const;

  // MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE. Recorded and shown; events do not propagate.
  unsigned long propagation() const { return propagation_.load(std::memory_order_relaxed); }
  void set_propagation(unsigned long type) { propagation_.store(type, std::memory_order_relaxed); }

  // Descriptions open for writing: a remount read-only gives EBUSY while there are any.
  void AddWriter() { writers_.fetch_add(1, std::memory_order_relaxed); }
  void RemoveWriter() { writers_.fetch_sub(1, std::memory_order_relaxed); }
  bool HasWriters() const { return writers_.load(std::memory_order_relaxed) > 0; }

 private:
  friend class MountNamespace;
  struct Child {
    Dentry* on;
    MountRef mount;
  };
  const RefPtr<FileSystem> fs_;
  const DentryRef root_;
  const std::string source_;
  const uint32_t id_;
  std::atomic<MountFlags> flags_;
  std::atomic<unsigned long> propagation_;
  std::atomic<int> writers_{0};
  mutable Mutex mu_{LockRank::kLeaf};
  Path point_ GUARDED_BY(mu_);
  std::vector<Child> children_ GUARDED_BY(mu_);
};

// One line of /proc/self/mountinfo.
struct MountInfo {
  MountRef mount;
  uint32_t parent_id;
};

class MountNamespace : public Namespace, public RefFromThis<MountNamespace> {
 public:
  MountNamespace();  // an initial one
  explicit MountNamespace(RefPtr<UserNamespace> owner);
  ~MountNamespace();
  // A namespace whose root is `fs`.
  static RefPtr<MountNamespace> Create(RefPtr<FileSystem> fs, MountFlags flags, std::string source);
  Path root() const;

  // Mounts `fs` (rooted at `fs_root`, null = its root) on `point`, above what is mounted there already. ENOTDIR when
  // one of the two is a directory and the other is not, ENOENT when `point` was unlinked, EINVAL when `point` is not
  // in this namespace.
  Result<MountRef> MountAt(const Path& point, RefPtr<FileSystem> fs, DentryRef fs_root, MountFlags flags,
                           std::string source);
  // MS_BIND: shows `from` at `point`; `recursive` (MS_REC) with the mounts below it.
  Result<MountRef> Bind(const Path& from, const Path& point, bool recursive);
  // EINVAL when `path` is not a mount's root; EBUSY for children or open files unless `detach` (MNT_DETACH). The only
  // Path of the caller into the mount is `path` itself: any other reference counts as use.
  Result<void> Unmount(const Path& path, bool detach);
  Result<void> Move(const Path& from, const Path& to);
  // pivot_root(2) of a caller whose root is `root`: EBUSY, EINVAL.
  Result<void> PivotRoot(const Path& root, const Path& new_root, const Path& put_old);
  // The topmost mount on `path`, or null.
  MountRef MountedOn(const Path& path) const;
  // Follows mounts stacked on `path` to the top.
  Path Traverse(Path path) const;
  std::vector<MountInfo> List() const;  // in mount order
  // The mounts at and below `mount`, for recursive flag changes.
  std::vector<MountRef> Subtree(const MountRef& mount) const;
  bool Contains(const MountRef& mount) const;
  // CLONE_NEWNS, for `owner`. `carried` (root, cwd of the caller) are moved to the corresponding mounts of the copy.
  RefPtr<MountNamespace> Clone(RefPtr<UserNamespace> owner, std::span<Path* const> carried = {}) const;

 private:
  static void Attach(const MountRef& mount, const Path& point);
  static void Detach(const MountRef& mount);
  bool ContainsLocked(const MountRef& mount) const REQUIRES(mu_);
  std::vector<MountRef> SubtreeLocked(const MountRef& mount) const REQUIRES(mu_);
  std::vector<MountRef> CopyTree(const MountRef& from, const DentryRef& root, bool recursive, bool unbindable_too) const
      REQUIRES(mu_);

  mutable Mutex mu_{LockRank::kMount};
  std::vector<MountRef> mounts_ GUARDED_BY(mu_);  // mount order
  MountRef root_ GUARDED_BY(mu_);
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
