// chmod, chown, utimensat, truncate and access (Linux: fs/open.c, fs/attr.c).
#include <linux/capability.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/leases.h"
#include "sentry/vfs/operations.h"
#include "sentry/vfs/permissions.h"

namespace sandbox {
namespace {

// The caller with its real ids in the place of the effective ones, for access(2) (Linux:
// access_override_creds).
class RealIdContext final : public Context {
 public:
  explicit RealIdContext(Context& caller) : caller_(caller) {
    auto creds = MakeRef<Credentials>(caller.creds());
    creds->fsuid = creds->uid;
    creds->fsgid = creds->gid;
    constexpr uint32_t kNoSetuidFixup = 1u << 2;  // SECBIT_NO_SETUID_FIXUP
    if (!(creds->securebits & kNoSetuidFixup))
      creds->effective = creds->ActualUid(0).value_or(~0u) == creds->uid ? creds->permitted : 0;
    creds_ = std::move(creds);
  }
  const Credentials& creds() const override { return *creds_; }
  CredentialsRef creds_ref() const override { return creds_; }
  GuestMemory& memory() override { return caller_.memory(); }
  uint64_t rlimit(int resource) const override { return caller_.rlimit(resource); }
  int32_t tgid() const override { return caller_.tgid(); }
  int32_t tid() const override { return caller_.tid(); }
  int32_t ShownPid(int32_t pid) const override { return caller_.ShownPid(pid); }
  int32_t ActualPid(int32_t number) const override { return caller_.ActualPid(number); }
  RefPtr<NetNamespace> net() const override { return caller_.net(); }
  void RaiseSignal(int signo) override { caller_.RaiseSignal(signo); }
  Result<void> Block(const Deadline& deadline) override { return caller_.Block(deadline); }
  Result<void> BlockKillable(const Deadline& deadline) override { return caller_.BlockKillable(deadline); }
  void Wake() override { caller_.Wake(); }
  bool Interrupted() const override { return caller_.Interrupted(); }

 private:
  Context& caller_;
  CredentialsRef creds_;
};

Result<void> Apply(Context& context, const Path& path, const AttrChange& change, uint32_t event) {
  TRY(path.dentry->inode()->SetAttr(context, change));
  NotifyPath(path, event);
  return {};
}

}  // namespace

Result<void> ChangeMode(Context& context, const Path& path, uint32_t mode) {
  TRY(RequireWritable(path));
  const Attr attr = TRY(path.dentry->inode()->GetAttr(context));
  const Credentials& creds = context.creds();
  if (!IsOwnerOrCapable(creds, attr)) return Err(EPERM);
  if (attr.IsSymlink()) return Err(EOPNOTSUPP);
  AttrChange change;
  change.mode = mode & 07777;
  if (!creds.InGroup(attr.gid) && !creds.HasOver(attr.uid, attr.gid, CAP_FSETID)) *change.mode &= ~S_ISGID;
  return Apply(context, path, change, IN_ATTRIB);
}

Result<void> ChangeOwner(Context& context, const Path& path, std::optional<uint32_t> uid, std::optional<uint32_t> gid) {
  TRY(RequireWritable(path));
  const Attr attr = TRY(path.dentry->inode()->GetAttr(context));
  const Credentials& creds = context.creds();
  const bool owner = creds.fsuid == attr.uid;
  const bool may_chown = creds.HasOver(attr.uid, attr.gid, CAP_CHOWN);
  if (uid && !may_chown && !(owner && *uid == attr.uid)) return Err(EPERM);
  if (gid && !may_chown && !(owner && (creds.InGroup(*gid) || *gid == attr.gid))) return Err(EPERM);
  AttrChange change;
  change.uid = uid;
  change.gid = gid;
  // Linux drops the set-id bits even for root, and even when nothing changes; group id only where
  // it is executable.
  if (!attr.IsDir() && (attr.mode & (S_ISUID | S_ISGID))) {
    uint32_t mode = attr.mode & 07777 & ~S_ISUID;
    if (attr.mode & S_IXGRP) mode &= ~S_ISGID;
    change.mode = mode;
  }
  TRY(Apply(context, path, change, IN_ATTRIB));
  // The capabilities of a file were its former owner's to give (Linux: ATTR_KILL_PRIV).
  constexpr char kCapabilities[] = "security.capability";
  Inode& inode = *path.dentry->inode();
  if (attr.IsRegular() && inode.GetXattr(context, kCapabilities).ok()) TRY(inode.RemoveXattr(context, kCapabilities));
  return {};
}

Result<void> ChangeTimes(Context& context, const Path& path, TimeChange atime, TimeChange mtime) {
  if (!atime.time && !atime.now && !mtime.time && !mtime.now) return {};
  TRY(RequireWritable(path));
  Inode& inode = *path.dentry->inode();
  const Attr attr = TRY(inode.GetAttr(context));
  if (!IsOwnerOrCapable(context.creds(), attr)) {
    // utimensat(2): others may only set both times to now, with write permission.
    if (!atime.now || !mtime.now) return Err(EPERM);
    TRY(inode.CheckAccess(context, W_OK));
  }
  AttrChange change;
  const FileTime now = FileTimeNow();
  change.atime = atime.now ? std::optional(now) : atime.time;
  change.mtime = mtime.now ? std::optional(now) : mtime.time;
  uint32_t event = IN_ATTRIB;
  if (change.atime && !change.mtime) event = IN_ACCESS;
  if (change.mtime && !change.atime) event = IN_MODIFY;
  return Apply(context, path, change, event);
}

std::optional<uint32_t> ModeAfterWrite(const Credentials& creds, const Attr& attr) {
  if (!attr.IsRegular() || !(attr.mode & (S_ISUID | S_ISGID)) || creds.HasOver(attr.uid, attr.gid, CAP_FSETID))
    return std::nullopt;
  uint32_t mode = attr.mode & 07777 & ~S_ISUID;
  if (attr.mode & S_IXGRP) mode &= ~S_ISGID;
  if (mode == (attr.mode & 07777)) return std::nullopt;
  return mode;
}

Result<void> CheckSizeLimit(Context& context, uint64_t size) {
  if (size <= context.rlimit(RLIMIT_FSIZE)) return {};
  context.RaiseSignal(SIGXFSZ);
  return Err(EFBIG);
}

Result<void> Truncate(Context& context, const Path& path, uint64_t size) {
  Inode& inode = *path.dentry->inode();
  const uint32_t type = inode.Type(context);
  if (type == S_IFDIR) return Err(EISDIR);
  if (type != S_IFREG) return Err(EINVAL);
  TRY(RequireWritable(path));
  TRY(inode.CheckAccess(context, W_OK));
  if (Leases* leases = inode.leases_or_null()) TRY(leases->Break(context, /*write=*/true, /*wait=*/true));
  const Attr attr = TRY(inode.GetAttr(context));
  if (size > attr.size) TRY(CheckSizeLimit(context, size));
  TRY(inode.AcquireWrite());
  AttrChange change;
  change.size = size;
  change.mode = ModeAfterWrite(context.creds(), attr);
  auto result = Apply(context, path, change, IN_MODIFY);
  inode.ReleaseWrite();
  return result;
}

Result<void> TruncateFile(Context& context, FileDescription& file, uint64_t size) {
  const Attr attr = TRY(file.GetAttr(context));
  if (!attr.IsRegular() || !file.writable()) return Err(EINVAL);
  if (size > attr.size) TRY(CheckSizeLimit(context, size));
  AttrChange change;
  change.size = size;
  change.mode = ModeAfterWrite(context.creds(), attr);
  TRY(file.SetAttr(context, change));
  NotifyPath(file.path(), IN_MODIFY);
  return {};
}

Result<void> CheckPathAccess(Context& context, const Path& path, int mask, bool effective) {
  Inode& inode = *path.dentry->inode();
  const uint32_t type = inode.Type(context);
  if ((mask & X_OK) && type == S_IFREG && path.mount != nullptr && (path.mount->flags() & MS_NOEXEC))
    return Err(EACCES);
  if (mask != 0) {
    if (effective) {
      TRY(inode.CheckAccess(context, mask));
    } else {
      RealIdContext real(context);
      TRY(inode.CheckAccess(real, mask));
    }
  }
  // Special files on a read-only mount can be written to.
  if ((mask & W_OK) && (type == S_IFREG || type == S_IFDIR || type == S_IFLNK)) TRY(RequireWritable(path));
  return {};
}

}  // namespace sandbox
