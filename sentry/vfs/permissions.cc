#include "sentry/vfs/permissions.h"

#include <linux/capability.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/operations.h"

namespace sandbox {

Result<void> RequireWritable(const Path& path) {
  if (path.mount != nullptr && path.mount->read_only()) return Err(EROFS);
  return {};
}

Result<void> MayCreate(Context& context, const Dentry& directory) {
  if (directory.IsDeleted()) return Err(ENOENT);
  return directory.inode()->CheckAccess(context, W_OK | X_OK);
}

Result<void> MayDelete(Context& context, const Dentry& directory, const Dentry& victim, bool as_directory) {
  TRY(directory.inode()->CheckAccess(context, W_OK | X_OK));
  const Credentials& creds = context.creds();
  if (!creds.Has(CAP_FOWNER)) {
    const Attr dir_attr = TRY(directory.inode()->GetAccessAttr(context));
    if ((dir_attr.mode & S_ISVTX) && dir_attr.uid != creds.fsuid) {
      const Attr attr = TRY(victim.inode()->GetAccessAttr(context));
      if (attr.uid != creds.fsuid && !creds.HasOver(attr.uid, attr.gid, CAP_FOWNER)) return Err(EPERM);
    }
  }
  const bool is_directory = victim.inode()->IsDir(context);
  if (as_directory && !is_directory) return Err(ENOTDIR);
  if (!as_directory && is_directory) return Err(EISDIR);
  if (directory.IsDeleted()) return Err(ENOENT);
  if (victim.mounts_here.load(std::memory_order_acquire) > 0) return Err(EBUSY);
  return {};
}

void InheritOwner(const Credentials& creds, const Attr& directory, CreateArgs& args) {
  args.uid = creds.fsuid;
  args.gid = creds.fsgid;
  if (!(directory.mode & S_ISGID)) return;
  args.gid = directory.gid;
  if (S_ISDIR(args.mode)) {
    args.mode |= S_ISGID;
  } else if ((args.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && !creds.InGroup(args.gid) &&
             !creds.HasOver(directory.uid, args.gid, CAP_FSETID)) {
    args.mode &= ~S_ISGID;  // Linux: mode_strip_sgid
  }
}

Result<DentryRef> CreateEntry(Context& context, const Path& directory, std::string_view name, CreateArgs args) {
  TRY(RequireWritable(directory));
  Dentry& dir = *directory.dentry;
  TRY(MayCreate(context, dir));
  InheritOwner(context.creds(), TRY(dir.inode()->GetAccessAttr(context)), args);
  InodeRef inode = TRY(dir.inode()->Create(context, name, args));
  const bool is_dir = S_ISDIR(args.mode);
  DentryRef child = dir.AddChild(name, std::move(inode));
  NotifyChild(*dir.inode(), IN_CREATE | (is_dir ? IN_ISDIR : 0u), 0, name);
  return child;
}

}  // namespace sandbox
