// open(2) and its relatives.
#include <linux/capability.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <unistd.h>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/leases.h"
#include "sentry/vfs/operations.h"
#include "sentry/vfs/permissions.h"
#include "sentry/vfs/special.h"
#include "sentry/vfs/walker.h"

namespace sandbox {
namespace {

int AccessMask(int flags) {
  static constexpr int kMasks[] = {R_OK, W_OK, R_OK | W_OK, R_OK | W_OK};  // access mode 3: ioctl only, asks for both
  int mask = kMasks[flags & O_ACCMODE];
  if (flags & O_TRUNC) mask |= W_OK;
  return mask;
}

bool IsWriteOpen(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

// Linux: may_open and inode_permission.
Result<void> MayOpen(Context& context, const Path& path, int flags) {
  Inode& inode = *path.dentry->inode();
  const int mask = AccessMask(flags);
  const uint32_t type = inode.Type(context);
  switch (type) {
    case S_IFLNK:
      return Err(ELOOP);
    case S_IFDIR:
      if (mask & W_OK) return Err(EISDIR);
      break;
    case S_IFCHR:
    case S_IFBLK:
      if (path.mount != nullptr && (path.mount->flags() & MS_NODEV)) return Err(EACCES);
      break;
    default:
      break;
  }
  TRY(inode.CheckAccess(context, mask));
  if ((mask & W_OK) && type == S_IFREG) TRY(RequireWritable(path));
  if (flags & O_NOATIME) {
    if (!IsOwnerOrCapable(context.creds(), TRY(inode.GetAttr(context)))) return Err(EPERM);
  }
  return {};
}

// O_TRUNC of an existing regular file.
Result<void> TruncateOnOpen(Context& context, const Path& path) {
  Inode& inode = *path.dentry->inode();
  TRY(inode.AcquireWrite());
  AttrChange change;
  change.size = 0;
  auto attr = inode.GetAttr(context);
  if (attr.ok()) change.mode = ModeAfterWrite(context.creds(), *attr);
  auto result = attr.ok() ? inode.SetAttr(context, change) : Result<void>(attr.error());
  inode.ReleaseWrite();
  if (result.ok()) NotifyPath(path, IN_MODIFY);
  return result;
}

// The permission is granted: makes the description.
Result<FileRef> FinishOpen(Context& context, const Path& path, int flags) {
  Inode& inode = *path.dentry->inode();
  const uint32_t type = inode.Type(context);
  if (type == S_IFSOCK && path.mount != nullptr) return Err(ENXIO);
  // Only contents can go past a cache (Linux: FMODE_CAN_ODIRECT).
  if ((flags & O_DIRECT) && type != S_IFREG && path.mount != nullptr) return Err(EINVAL);
  if (type == S_IFIFO && path.mount != nullptr) {
    FileRef file = TRY(OpenSpecial(context, path, TRY(inode.GetAttr(context)), flags));
    NotifyPath(path, IN_OPEN);
    return file;
  }
  FileRef file = TRY(inode.Open(context, path, flags));
  if (type == S_IFREG && !file->path().empty()) {
    if (IsWriteOpen(flags))
      TRY(file->HoldWriteAccess());
    else
      file->HoldReadAccess();
  }
  NotifyPath(path, IN_OPEN);
  return file;
}

Result<FileRef> OpenExisting(Context& context, const Path& path, int flags) {
  const uint32_t type = path.dentry->inode()->Type(context);
  if (type == S_IFDIR && (flags & (O_CREAT | O_TRUNC))) return Err(EISDIR);
  if (type != S_IFREG) flags &= ~O_TRUNC;
  TRY(MayOpen(context, path, flags));
  if (Leases* leases = path.dentry->inode()->leases_or_null()) {
    TRY(leases->Break(context, IsWriteOpen(flags) || (flags & O_TRUNC), !(flags & O_NONBLOCK)));
  }
  if (flags & O_TRUNC) TRY(TruncateOnOpen(context, path));
  return FinishOpen(context, path, flags);
}

// The last component is missing: makes a regular file. Null: somebody else was faster, look again.
Result<FileRef> CreateAndOpen(Context& context, const Path& directory, std::string_view name,
                              const OpenOptions& options) {
  Path created{directory.mount, nullptr};
  {
    MutexLock lock(directory.dentry->lock());
    DentryRef there = TRY(LookupChildLocked(context, directory, name));
    if (!there->IsNegative()) return FileRef();
    CreateArgs args;
    args.mode = S_IFREG | (options.mode & 07777 & ~options.umask);
    auto made = CreateEntry(context, directory, name, std::move(args));
    // On a shared tree the host may know a newer file.
    if (made.Is(EEXIST) && !(options.flags & O_EXCL)) return FileRef();
    created.dentry = TRY(std::move(made));
  }
  FileRef file = TRY(FinishOpen(context, created, options.flags & ~O_TRUNC));
  file->set_created();
  return file;
}

// Linux: open_last_lookups with O_CREAT.
Result<FileRef> OpenOrCreate(Context& context, const WalkBase& base, std::string_view path,
                             const OpenOptions& options) {
  Walker walker(context, base, options.resolve);
  walker.set_open_flags(options.flags);
  TRY(walker.Begin(path));
  // The bound only matters when files come and go between two looks on a shared tree.
  for (int tries = 0; tries < 100; ++tries) {
    TRY(walker.ToLast());
    const std::string_view name = walker.last();
    if (name.empty() && (options.flags & O_EXCL)) return Err(EEXIST);
    if (name.empty()) return OpenExisting(context, walker.at(), options.flags);  // "/" or a magic link's target
    if (IsDotName(name) && (options.flags & O_EXCL)) return Err(EEXIST);
    if (IsDotName(name) || walker.trailing_slash()) return Err(EISDIR);
    for (;;) {
      Path found = TRY(walker.Child(name));
      if (!found.dentry->IsNegative() && (options.flags & O_EXCL)) return Err(EEXIST);
      if (walker.IsSymlink(found)) {
        if (options.flags & O_NOFOLLOW) return Err(ELOOP);
        TRY(walker.Follow(found));
        break;
      }
      if (!found.dentry->IsNegative()) return OpenExisting(context, found, options.flags);
      FileRef file = TRY(CreateAndOpen(context, walker.at(), name, options));
      if (file != nullptr) return file;
      if (options.flags & O_EXCL) return Err(EEXIST);
    }
  }
  return Err(ELOOP);
}

Result<FileRef> OpenUnlinked(Context& context, const WalkBase& base, std::string_view path,
                             const OpenOptions& options) {
  WalkOptions walk;
  walk.require_dir = true;
  walk.resolve = options.resolve;
  walk.follow_last = !(options.flags & O_NOFOLLOW);
  const Path directory = TRY(Walk(context, base, path, walk));
  TRY(RequireWritable(directory));
  Inode& dir = *directory.dentry->inode();
  TRY(dir.CheckAccess(context, W_OK | X_OK));
  CreateArgs args;
  args.mode = S_IFREG | (options.mode & 07777 & ~options.umask);
  args.linkable = !(options.flags & O_EXCL);
  InheritOwner(context.creds(), TRY(dir.GetAccessAttr(context)), args);
  InodeRef inode = TRY(dir.CreateUnlinked(context, args));
  const uint64_t ino = TRY(inode->GetAttr(context)).ino;
  // Linux: d_mark_tmpfile names it by its inode number.
  auto dentry = MakeRef<Dentry>(directory.dentry, "#" + std::to_string(ino), std::move(inode));
  dentry->MarkDeleted();
  const int flags = options.flags & ~(O_TMPFILE | O_EXCL);
  return FinishOpen(context, {directory.mount, std::move(dentry)}, flags);
}

}  // namespace

Result<FileRef> OpenPath(Context& context, const Path& path, int flags) { return OpenExisting(context, path, flags); }

Result<FileRef> Open(Context& context, const WalkBase& base, std::string_view path, const OpenOptions& options) {
  const int flags = options.flags;
  if (!(flags & O_PATH)) {
    if ((flags & O_TMPFILE) == O_TMPFILE) return OpenUnlinked(context, base, path, options);
    if (flags & O_CREAT) return OpenOrCreate(context, base, path, options);
  }
  WalkOptions walk;
  walk.follow_last = !(flags & O_NOFOLLOW);
  walk.require_dir = flags & O_DIRECTORY;
  walk.resolve = options.resolve;
  if (!(flags & O_PATH)) walk.open_flags = flags;
  Path found = TRY(Walk(context, base, path, walk));
  if (flags & O_PATH) {
    return FileRef(MakeRef<FileDescription>(std::move(found), flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW)));
  }
  return OpenExisting(context, found, flags);
}

Result<FileRef> OpenForExec(Context& context, const WalkBase& base, std::string_view path, const WalkOptions& options) {
  WalkOptions walk = options;
  walk.open_flags = O_RDONLY;
  const Path found = TRY(Walk(context, base, path, walk));
  Inode& inode = *found.dentry->inode();
  const uint32_t type = inode.Type(context);
  if (type == S_IFLNK) return Err(ELOOP);
  if (type != S_IFREG) return Err(EACCES);
  if (found.mount != nullptr && (found.mount->flags() & MS_NOEXEC)) return Err(EACCES);
  TRY(inode.CheckAccess(context, X_OK));
  FileRef file = TRY(inode.Open(context, found, O_RDONLY));
  if (file->path().empty()) return Err(EACCES);
  TRY(file->DenyWriteAccess());
  return file;
}

}  // namespace sandbox
