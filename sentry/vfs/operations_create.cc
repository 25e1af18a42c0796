// mknod(2), mkdir(2), symlink(2) and link(2).
#include <linux/capability.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <climits>

#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/operations.h"
#include "sentry/vfs/permissions.h"
#include "sentry/vfs/walker.h"

namespace sandbox {
namespace {

// Linux: filename_create and what follows. With the parent locked: EEXIST, ENOENT for "name/" of a non-directory.
Result<Path> Make(Context& context, const WalkBase& base, std::string_view path, CreateArgs args) {
  ParentWalk walk = TRY(WalkParent(context, base, path));
  if (IsDotName(walk.last)) return Err(EEXIST);
  const bool is_dir = S_ISDIR(args.mode);
  MutexLock lock(walk.parent.dentry->lock());
  const DentryRef there = TRY(LookupChildLocked(context, walk.parent, walk.last));
  if (!there->IsNegative()) return Err(EEXIST);
  if (walk.trailing_slash && !is_dir) return Err(ENOENT);
  DentryRef made = TRY(CreateEntry(context, walk.parent, walk.last, std::move(args)));
  return Path{walk.parent.mount, std::move(made)};
}

}  // namespace

Result<Path> MakeNodePath(Context& context, const WalkBase& base, std::string_view path, uint32_t mode, uint64_t rdev,
                          uint32_t umask) {
  CreateArgs args;
  args.mode = (mode & S_IFMT) | (mode & 07777 & ~umask);
  if ((mode & S_IFMT) == 0) args.mode |= S_IFREG;
  args.rdev = rdev;
  switch (args.mode & S_IFMT) {
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
      break;
    case S_IFCHR:
    case S_IFBLK:
      // The overlay whiteout (0:0 character device) needs no capability.
      if (!context.creds().Has(CAP_MKNOD) && !((args.mode & S_IFMT) == S_IFCHR && rdev == 0)) return Err(EPERM);
      break;
    case S_IFDIR:
      return Err(EPERM);
    default:
      return Err(EINVAL);
  }
  return Make(context, base, path, std::move(args));
}

Result<void> MakeNode(Context& context, const WalkBase& base, std::string_view path, uint32_t mode, uint64_t rdev,
                      uint32_t umask) {
  TRY(MakeNodePath(context, base, path, mode, rdev, umask));
  return {};
}

Result<void> MakeDir(Context& context, const WalkBase& base, std::string_view path, uint32_t mode, uint32_t umask) {
  CreateArgs args;
  args.mode = S_IFDIR | (mode & 01777 & ~umask);
  TRY(Make(context, base, path, std::move(args)));
  return {};
}

Result<void> MakeSymlink(Context& context, const WalkBase& base, std::string_view target, std::string_view path) {
  if (target.empty()) return Err(ENOENT);
  if (target.size() >= PATH_MAX) return Err(ENAMETOOLONG);
  CreateArgs args;
  args.mode = S_IFLNK | 0777;
  args.target = std::string(target);
  TRY(Make(context, base, path, std::move(args)));
  return {};
}

Result<void> MakeLink(Context& context, const Path& target, const WalkBase& base, std::string_view path) {
  ParentWalk walk = TRY(WalkParent(context, base, path));
  if (IsDotName(walk.last)) return Err(EEXIST);
  Dentry& dir = *walk.parent.dentry;
  MutexLock lock(dir.lock());
  const DentryRef there = TRY(LookupChildLocked(context, walk.parent, walk.last));
  if (!there->IsNegative()) return Err(EEXIST);
  if (walk.trailing_slash) return Err(ENOENT);
  TRY(RequireWritable(walk.parent));
  if (target.mount != walk.parent.mount) return Err(EXDEV);
  TRY(MayCreate(context, dir));
  const InodeRef inode = target.inode();
  if (inode->IsDir(context)) return Err(EPERM);
  TRY(dir.inode()->Link(context, walk.last, inode));
  dir.AddChild(walk.last, inode);
  NotifyInode(*inode, IN_ATTRIB);
  NotifyChild(*dir.inode(), IN_CREATE, 0, walk.last);
  return {};
}

}  // namespace sandbox
