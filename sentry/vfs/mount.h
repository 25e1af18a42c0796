// Mounts and mount namespaces (Linux: struct mount, struct mnt_namespace).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/path.h"

namespace sandbox {

// MS_* bits kept per mount: MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NODIRATIME, MS_RELATIME.
using MountFlags = unsigned long;

class Mount : public RefFromThis<Mount> {
 public:
  Mount(RefPtr<FileSystem> fs, DentryRef root, MountFlags flags, std::string source);
  const RefPtr<FileSystem>& fs() const { return fs_; }
  const DentryRef& root() const { return root_; }
  const std::string& source() const { return source_; }
  MountFlags flags() const { return flags_.load(std::memory_order_relaxed); }
  void set_flags(MountFlags flags) { flags_.store(flags, std::memory_order_relaxed); }
  bool read_only() const;
  uint32_t id() const { return id_; }
  Path point() const;  // where it is mounted; empty for the namespace's root

 private:
  friend class MountNamespace;
  const RefPtr<FileSystem> fs_;
  const DentryRef root_;
  const std::string source_;
  const uint32_t id_;
  std::atomic<MountFlags> flags_;
  mutable Mutex mu_{LockRank::kLeaf};
  Path point_ GUARDED_BY(mu_);
};

// One line of /proc/self/mountinfo.
struct MountInfo {
  MountRef mount;
  uint32_t parent_id;
};

class MountNamespace : public RefFromThis<MountNamespace> {
 public:
  // A namespace whose root is `fs`.
  static RefPtr<MountNamespace> Create(RefPtr<FileSystem> fs, MountFlags flags, std::string source);
  Path root() const;

  // Mounts `fs` (rooted at `fs_root`, null = its root) on `point`, above what is mounted there already.
  Result<MountRef> MountAt(const Path& point, RefPtr<FileSystem> fs, DentryRef fs_root, MountFlags flags, std::string source);
  // EINVAL when `path` is not a mount's root; EBUSY for children or open files unless `detach` (MNT_DETACH).
  Result<void> Unmount(const Path& path, bool detach);
  Result<void> Move(const Path& from, const Path& to);
  Result<void> PivotRoot(const Path& new_root, const Path& put_old);
  // The topmost mount on `path`, or null.
  MountRef MountedOn(const Path& path) const;
  // Follows mounts stacked on `path` to the top.
  Path Traverse(Path path) const;
  std::vector<MountInfo> List() const;  // in mount order
  RefPtr<MountNamespace> Clone() const; // CLONE_NEWNS

 private:
  mutable Mutex mu_{LockRank::kMount};
  std::vector<MountRef> mounts_ GUARDED_BY(mu_);  // mount order; [0] is the root
};

// Text of `path` as seen from `root`, with "(unreachable)" or " (deleted)" as Linux prints it.
std::string PathToString(const Path& path, const Path& root);

}  // namespace sandbox
