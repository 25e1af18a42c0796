// rename(2) (Linux: do_renameat2 and vfs_rename).
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <optional>

#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/operations.h"
#include "sentry/vfs/permissions.h"
#include "sentry/vfs/walker.h"

namespace sandbox {
namespace {

// Both directories of a rename, locked in an order every renamer agrees on: the rename lock of the file system when
// they differ, then an ancestor before its descendant, unrelated ones by address (Linux: lock_rename).
class DirectoryPair {
 public:
  DirectoryPair(FileSystem* fs, Dentry& a, Dentry& b) NO_THREAD_SAFETY_ANALYSIS : fs_(fs), first_(&a), second_(&b) {
    if (first_ == second_) {
      first_->lock().Lock();
      return;
    }
    if (fs_ != nullptr) fs_->rename_lock().Lock();
    const bool swap = b.IsBelow(a) ? false : a.IsBelow(b) ? true : &b < &a;
    if (swap) std::swap(first_, second_);
    first_->lock().Lock();
    second_->lock().Lock();
  }
  ~DirectoryPair() NO_THREAD_SAFETY_ANALYSIS {
    if (second_ != first_) {
      second_->lock().Unlock();
      first_->lock().Unlock();
      if (fs_ != nullptr) fs_->rename_lock().Unlock();
      return;
    }
    first_->lock().Unlock();
  }
  DirectoryPair(const DirectoryPair&) = delete;

 private:
  FileSystem* const fs_;
  Dentry* first_;
  Dentry* second_;
};

class VictimLock {
 public:
  explicit VictimLock(Dentry& victim) NO_THREAD_SAFETY_ANALYSIS : victim_(victim) { victim_.lock().Lock(); }
  ~VictimLock() NO_THREAD_SAFETY_ANALYSIS { victim_.lock().Unlock(); }
  VictimLock(const VictimLock&) = delete;

 private:
  Dentry& victim_;
};

struct RenameEnds {
  ParentWalk from, to;
  DentryRef moved, victim;  // victim may be negative
  unsigned flags;
  bool exchange() const { return flags & RENAME_EXCHANGE; }
  bool same_directory() const { return from.parent.dentry == to.parent.dentry; }
};

// Existence, slashes and ancestry; both directories are locked.
Result<void> CheckShape(Context& context, const RenameEnds& ends) {
  if (ends.moved->IsNegative()) return Err(ENOENT);
  if ((ends.flags & RENAME_NOREPLACE) && !ends.victim->IsNegative()) return Err(EEXIST);
  const bool moved_is_dir = ends.moved->inode()->IsDir(context);
  if (ends.exchange()) {
    if (ends.victim->IsNegative()) return Err(ENOENT);
    if (ends.to.trailing_slash && !ends.victim->inode()->IsDir(context)) return Err(ENOTDIR);
  }
  if (!moved_is_dir) {
    if (ends.from.trailing_slash) return Err(ENOTDIR);
    if (!ends.exchange() && ends.to.trailing_slash) return Err(ENOTDIR);
  }
  // A directory cannot go below itself, nor replace one of its own ancestors.
  if (ends.to.parent.dentry->IsBelow(*ends.moved)) return Err(EINVAL);
  if (!ends.victim->IsNegative() && ends.from.parent.dentry->IsBelow(*ends.victim)) {
    return Err(ends.exchange() ? EINVAL : ENOTEMPTY);
  }
  return {};
}

// Linux: the permission half of vfs_rename.
Result<void> CheckPermission(Context& context, const RenameEnds& ends) {
  Dentry& from = *ends.from.parent.dentry;
  Dentry& to = *ends.to.parent.dentry;
  const bool moved_is_dir = ends.moved->inode()->IsDir(context);
  const bool victim_is_dir = !ends.victim->IsNegative() && ends.victim->inode()->IsDir(context);
  TRY(MayDelete(context, from, *ends.moved, moved_is_dir));
  if (ends.victim->IsNegative()) {
    TRY(MayCreate(context, to));
  } else {
    TRY(MayDelete(context, to, *ends.victim, ends.exchange() ? victim_is_dir : moved_is_dir));
  }
  if (!ends.same_directory()) {
    // ".." of a moved directory changes, which is a write to it.
    if (moved_is_dir) TRY(ends.moved->inode()->CheckAccess(context, W_OK));
    if (ends.exchange() && victim_is_dir) TRY(ends.victim->inode()->CheckAccess(context, W_OK));
  }
  return {};
}

void ReportRename(Context& context, const RenameEnds& ends) {
  if (!AnyInotifyWatches()) return;
  const uint32_t dir_bit = ends.moved->inode()->IsDir(context) ? IN_ISDIR : 0u;
  const uint32_t cookie = NextInotifyCookie();
  NotifyChild(*ends.from.parent.dentry->inode(), IN_MOVED_FROM | dir_bit, cookie, ends.from.last);
  NotifyChild(*ends.to.parent.dentry->inode(), IN_MOVED_TO | dir_bit, cookie, ends.to.last);
  if (ends.from.parent.dentry == ends.to.parent.dentry) {
    NotifyChild(*ends.from.parent.dentry->inode(), kInotifyRenamedInside, 0, ends.from.last);
  }
  NotifyInode(*ends.moved->inode(), IN_MOVE_SELF);
  if (!ends.victim->IsNegative() && !ends.exchange()) NotifyInode(*ends.victim->inode(), IN_ATTRIB);
}

Result<void> RenameLocked(Context& context, RenameEnds& ends) {
  Dentry& from = *ends.from.parent.dentry;
  Dentry& to = *ends.to.parent.dentry;
  ends.moved = TRY(LookupChildLocked(context, ends.from.parent, ends.from.last));
  ends.victim = TRY(LookupChildLocked(context, ends.to.parent, ends.to.last));
  TRY(CheckShape(context, ends));
  // Two names of one file: nothing to do, even for names that may not be touched.
  if (!ends.victim->IsNegative() && ends.moved->inode() == ends.victim->inode()) return {};
  TRY(CheckPermission(context, ends));
  const InodeRef victim_inode = ends.victim->inode();
  // A directory that is replaced is locked too, so that nothing is created in it while it goes.
  std::optional<VictimLock> victim_lock;
  if (victim_inode != nullptr && !ends.exchange() && victim_inode->IsDir(context)) victim_lock.emplace(*ends.victim);
  TRY(from.inode()->Rename(context, ends.from.last, ends.moved->inode(), *to.inode(), ends.to.last, victim_inode,
                           ends.flags));
  if (ends.exchange()) {
    Dentry::Exchange(from, ends.moved, to, ends.victim);
  } else {
    if (victim_inode != nullptr) to.RemoveChild(ends.victim, true);
    Dentry::Move(from, ends.moved, to, ends.to.last);
  }
  ReportRename(context, ends);
  return {};
}

}  // namespace

Result<void> Rename(Context& context, const WalkBase& from_base, std::string_view from, const WalkBase& to_base,
                    std::string_view to, unsigned flags) {
  if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) return Err(EINVAL);
  if ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT))) return Err(EINVAL);
  RenameEnds ends;
  ends.flags = flags;
  ends.from = TRY(WalkParent(context, from_base, from));
  ends.to = TRY(WalkParent(context, to_base, to));
  if (ends.from.parent.mount != ends.to.parent.mount) return Err(EXDEV);
  if (IsDotName(ends.from.last)) return Err(EBUSY);
  if (IsDotName(ends.to.last)) return Err(flags & RENAME_NOREPLACE ? EEXIST : EBUSY);
  TRY(RequireWritable(ends.from.parent));
  FileSystem* fs = ends.from.parent.mount != nullptr ? ends.from.parent.mount->fs().get() : nullptr;
  // `ends` outlives the locks: it may hold the last reference to the replaced file.
  DirectoryPair locks(fs, *ends.from.parent.dentry, *ends.to.parent.dentry);
  return RenameLocked(context, ends);
}

}  // namespace sandbox
