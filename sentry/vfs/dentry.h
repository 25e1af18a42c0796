// Dentry: a name in a directory, cached (Linux: struct dentry). Owned by the VFS; file systems see inodes and names.
//
// A dentry with an inode is positive; one without caches "no such entry" (negative). The children map holds strong
// references for exclusive file systems until memory pressure or unlink drops them. `lock()` of a directory's dentry
// serialises lookups, creations and removals in it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/path.h"

namespace sandbox {

class Dentry : public RefFromThis<Dentry> {
 public:
  Dentry(DentryRef parent, std::string name, InodeRef inode);
  ~Dentry();

  // Root dentries are their own end: parent() is null.
  DentryRef parent() const;
  std::string name() const;
  InodeRef inode() const;
  bool IsNegative() const { return inode() == nullptr; }
  // Unlinked while still referenced: shown with " (deleted)".
  bool IsDeleted() const { return deleted_.load(std::memory_order_relaxed); }

  // Directory lock; parent before child.
  Mutex& lock() { return mu_; }

  // All under lock() of this directory.
  DentryRef CachedChild(std::string_view name) REQUIRES(mu_);
  DentryRef AddChild(std::string_view name, InodeRef inode) REQUIRES(mu_);  // inode null = negative; replaces
  void RemoveChild(std::string_view name, bool deleted) REQUIRES(mu_);
  // After a successful rename: moves `child` under (`new_parent`, `new_name`). Both directories are locked.
  static void Move(Dentry& old_parent, const DentryRef& child, Dentry& new_parent, std::string_view new_name);

  // Number of mounts on this dentry; tested by the walk before it asks the mount table.
  std::atomic<int> mounts_here{0};

 private:
  struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  mutable Mutex mu_{LockRank::kDentry};
  mutable Mutex name_mu_{LockRank::kLeaf};  // name, parent and inode: read without the directory's lock
  DentryRef parent_ GUARDED_BY(name_mu_);
  std::string name_ GUARDED_BY(name_mu_);
  InodeRef inode_ GUARDED_BY(name_mu_);
  std::atomic<bool> deleted_{false};
  std::unordered_map<std::string, DentryRef, StringHash, std::equal_to<>> children_ GUARDED_BY(mu_);
};

}  // namespace sandbox
