// Dentry: a name in a directory, cached (Linux: struct dentry). Owned by the VFS; file systems see inodes and names.
//
// A dentry with an inode is positive; one without caches "no such entry" (negative) and is never handed out as more
// than a lookup result. The inode of a dentry never changes: another object under the same name is another dentry.
//
// Lifetime: a child holds its parent; a parent only knows its children. What keeps an unused dentry alive is the
// dentry cache (dentry_cache.h), a bounded list, so dropping it there is all that eviction takes.
//
// Locks: `lock()` of a directory's dentry serialises lookups in the file system, creations and removals in it, and is
// held while the file system works (parent before child; unrelated directories by address, see operations). The
// names of cached children have a small lock of their own, so a cache hit never waits for a slow lookup beside it.
#pragma once

#include <atomic>
#include <list>
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
  // Not yet known to `parent`: AddChild does both. A null parent makes a root.
  Dentry(DentryRef parent, std::string name, InodeRef inode);
  ~Dentry();
  Dentry(const Dentry&) = delete;

  // Null for the root of a file system.
  DentryRef parent() const;
  std::string name() const;
  const InodeRef& inode() const { return inode_; }
  bool IsNegative() const { return inode_ == nullptr; }
  // Unlinked while still referenced: shown with " (deleted)"; nothing can be created in it.
  bool IsDeleted() const { return deleted_.load(std::memory_order_acquire); }
  void MarkDeleted() { deleted_.store(true, std::memory_order_release); }

  // Directory lock; parent before child.
  Mutex& lock() { return mu_; }

  // What the cache knows of `name`: null = nothing, else positive or negative.
  DentryRef CachedChild(std::string_view name);
  // The rest needs lock() of this directory. Adds or replaces; a null inode makes a negative dentry.
  DentryRef AddChild(std::string_view name, InodeRef inode);
  // Forgets the name; `deleted` when the object was unlinked.
  void RemoveChild(const DentryRef& child, bool deleted);
  // After a successful rename: `child` now is `new_name` in `new_parent`; what was cached there is forgotten (and
  // marked deleted by the caller when it was replaced). Both directories are locked.
  static void Move(Dentry& old_parent, const DentryRef& child, Dentry& new_parent, std::string_view new_name);
  // RENAME_EXCHANGE: the two swap places. Both directories are locked.
  static void Exchange(Dentry& a_parent, const DentryRef& a, Dentry& b_parent, const DentryRef& b);

  // True when `ancestor` is this dentry or above it.
  bool IsBelow(const Dentry& ancestor) const;

  // Inode::names_version of the parent when this name was last known to be right.
  std::atomic<uint32_t> names_version{0};

  // Number of mounts on this dentry; tested by the walk before it asks the mount table.
  std::atomic<int> mounts_here{0};

 private:
  friend class DentryCache;
  // A name changes only while its dentry is in no map, so the map's lock is enough to read it.
  void Attach(Dentry& child) REQUIRES(children_mu_) NO_THREAD_SAFETY_ANALYSIS;
  void Detach(Dentry& child) NO_THREAD_SAFETY_ANALYSIS;
  bool DetachIfUnused(DentryRef& child) NO_THREAD_SAFETY_ANALYSIS;

  const InodeRef inode_;
  mutable Mutex mu_{LockRank::kDentry};
  mutable Mutex name_mu_{LockRank::kLeaf};  // read without the directory's lock
  DentryRef parent_ GUARDED_BY(name_mu_);
  std::string name_ GUARDED_BY(name_mu_);
  std::atomic<bool> deleted_{false};
  mutable Mutex children_mu_{LockRank::kLeaf};
  // Keys are the children's own names; a child leaves before its name changes or it dies.
  std::unordered_map<std::string_view, Dentry*> children_ GUARDED_BY(children_mu_);

  // Owned by DentryCache.
  std::atomic<bool> recently_used_{false};
  bool in_cache_ = false;
  std::list<DentryRef>::iterator cache_position_;
};

}  // namespace sandbox
