// unlink(2) and rmdir(2).
#include <sys/inotify.h>

#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/operations.h"
#include "sentry/vfs/permissions.h"
#include "sentry/vfs/walker.h"

namespace sandbox {

Result<void> Unlink(Context& context, const WalkBase& base, std::string_view path) {
  ParentWalk walk = TRY(WalkParent(context, base, path));
  if (IsDotName(walk.last)) return Err(EISDIR);
  TRY(RequireWritable(walk.parent));
  Dentry& dir = *walk.parent.dentry;
  DentryRef victim;  // may hold the last reference to the file: released after the lock
  MutexLock lock(dir.lock());
  victim = TRY(LookupChildLocked(context, walk.parent, walk.last));
  if (victim->IsNegative()) return Err(ENOENT);
  if (walk.trailing_slash) return Err(victim->inode()->IsDir(context) ? EISDIR : ENOTDIR);
  TRY(MayDelete(context, dir, *victim, false));
  TRY(dir.inode()->Unlink(context, walk.last, victim->inode()));
  dir.RemoveChild(victim, true);
  NotifyInode(*victim->inode(), IN_ATTRIB);
  NotifyChild(*dir.inode(), IN_DELETE, 0, walk.last);
  return {};
}

Result<void> RemoveDir(Context& context, const WalkBase& base, std::string_view path) {
  ParentWalk walk = TRY(WalkParent(context, base, path));
  if (walk.last == "..") return Err(ENOTEMPTY);
  if (walk.last == ".") return Err(EINVAL);
  if (walk.last.empty()) return Err(EBUSY);
  TRY(RequireWritable(walk.parent));
  Dentry& dir = *walk.parent.dentry;
  DentryRef victim;
  MutexLock lock(dir.lock());
  victim = TRY(LookupChildLocked(context, walk.parent, walk.last));
  if (victim->IsNegative()) return Err(ENOENT);
  TRY(MayDelete(context, dir, *victim, true));
  // The victim is locked too, so that nothing is created in it while it goes.
  MutexLock victim_lock(victim->lock());
  TRY(dir.inode()->Rmdir(context, walk.last, victim->inode()));
  dir.RemoveChild(victim, true);
  NotifyChild(*dir.inode(), IN_DELETE | IN_ISDIR, 0, walk.last);
  return {};
}

}  // namespace sandbox
