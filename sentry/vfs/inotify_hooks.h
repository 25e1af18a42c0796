// What the VFS tells inotify. The inotify file itself (sentry/fs/anon) derives InotifyWatch and puts one on each
// watched inode; operations, io and file descriptions report events here.
//
// A watch pins nothing: its instance holds the path (until the name is unlinked) and takes the watch off before it
// goes. Reporting costs one load while nothing in the sandbox is watched.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/path.h"

namespace sandbox {

// Besides IN_*, watches are told that a name of their object went: who holds its dentry lets it go, so that the end of
// the object can be seen. Not an event for guests.
inline constexpr uint32_t kInotifyUnlinked = 0x00010000;
// With an event of a child: its name in the watched directory is gone (IN_EXCL_UNLINK).
inline constexpr uint32_t kInotifyChildUnlinked = 0x00020000;
// A rename that stayed in the directory, for F_NOTIFY (Linux: FS_RENAME).
inline constexpr uint32_t kInotifyRenamedInside = 0x00040000;

// One watch of one instance on one inode (Linux: struct fsnotify_mark).
class InotifyWatch {
 public:
  virtual ~InotifyWatch() = default;
  // `mask`: IN_* (with IN_ISDIR); the watch filters by what it asked for. `name` is empty for events of the object
  // itself. May be called with directory locks held: queues the event and wakes readers, takes locks of rank
  // kWaitQueue or kLeaf only, and does not call back into this interface.
  virtual void OnEvent(uint32_t mask, uint32_t cookie, std::string_view name) = 0;
  // Which instance it belongs to: inotify_add_watch on the same inode finds its old watch by it.
  virtual const void* owner() const = 0;
};

// The watches of one inode; Inode::watches() makes it on demand.
class InotifyWatches {
 public:
  InotifyWatches() = default;
  ~InotifyWatches();
  void Add(RefPtr<InotifyWatch> watch);
  void Remove(const InotifyWatch& watch);
  RefPtr<InotifyWatch> Find(const void* owner) const;
  void Deliver(uint32_t mask, uint32_t cookie, std::string_view name);
  bool empty() const { return count_.load(std::memory_order_relaxed) == 0; }

 private:
  mutable Mutex mu_{LockRank::kLeaf};
  std::vector<RefPtr<InotifyWatch>> watches_ GUARDED_BY(mu_);
  std::atomic<int> count_{0};
};

namespace inotify_internal {
inline std::atomic<int> watch_count{0};  // in the whole sandbox
void ReportPath(const Path& path, uint32_t mask);
void ReportChild(const Inode& directory, uint32_t mask, uint32_t cookie, std::string_view name);
void ReportInode(const Inode& inode, uint32_t mask);
void ReportInodeGone(const Inode& inode);
}  // namespace inotify_internal

inline bool AnyInotifyWatches() { return inotify_internal::watch_count.load(std::memory_order_relaxed) > 0; }

// An event of an object, told to it and to its directory (Linux: fsnotify_parent). Adds IN_ISDIR itself.
inline void NotifyPath(const Path& path, uint32_t mask) {
  if (AnyInotifyWatches()) inotify_internal::ReportPath(path, mask);
}
// An event about a name in a directory, told to the directory only.
inline void NotifyChild(const Inode& directory, uint32_t mask, uint32_t cookie, std::string_view name) {
  if (AnyInotifyWatches()) inotify_internal::ReportChild(directory, mask, cookie, name);
}
// An event of an object, told to it only.
inline void NotifyInode(const Inode& inode, uint32_t mask) {
  if (AnyInotifyWatches()) inotify_internal::ReportInode(inode, mask);
}
// The last reference to an unlinked name is going: IN_DELETE_SELF and IN_IGNORED if no link is left.
inline void NotifyInodeGone(const Inode& inode) {
  if (AnyInotifyWatches()) inotify_internal::ReportInodeGone(inode);
}
// Pairs IN_MOVED_FROM and IN_MOVED_TO.
uint32_t NextInotifyCookie();

}  // namespace sandbox
