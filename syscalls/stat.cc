// stat(2), lstat(2), fstat(2), newfstatat(2), statx(2).
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstring>

#include "sentry/kernel/task.h"
#include "sentry/vfs/anonymous.h"
#include "sentry/vfs/dentry.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

struct Found {
  Attr attr;
  uint64_t device = 0;
  uint32_t mount_id = 0;
  uint64_t unique_mount_id = 0;
  bool mount_root = false;

  void SetMount(const Path& path) {
    if (path.mount == nullptr) return;
    mount_id = path.mount->id();
    unique_mount_id = path.mount->unique_id();
    mount_root = path.dentry == path.mount->root();
  }
};

Result<Found> AttrOfPath(Task& task, const Path& path) {
  Found found;
  Inode& inode = *path.dentry->inode();
  found.attr = TRY(inode.GetAttr(task));
  found.device = inode.device();
  found.SetMount(path);
  return found;
}

Result<Found> AttrOfFile(Task& task, const FileRef& file) {
  if (file->is_path_only()) return AttrOfPath(task, file->path());
  Found found;
  found.attr = TRY(file->GetAttr(task));
  if (!file->path().empty()) {
    found.device = file->path().dentry->inode()->device();
    found.SetMount(file->path());
  } else {
    found.device = AnonymousDevice();
  }
  return found;
}

constexpr uint32_t kStatxMountIdUnique = 0x4000;  // STATX_MNT_ID_UNIQUE
constexpr int kStatFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;

// fstatat and statx share the lookup; an empty path asks the description itself.
Result<Found> AttrAt(Task& task, Fd dirfd, GuestStr path, int flags) {
  if ((flags & AT_EMPTY_PATH) && dirfd != AtCwd()) {
    char first = 0;
    if (!path.IsNull()) TRY(task.memory().Read(path.addr(), &first, 1));
    if (first == 0) return AttrOfFile(task, TRY(task.fds().GetAny(dirfd)));
  }
  return AttrOfPath(task, TRY(WalkAt(task, dirfd, path, flags)));
}

timespec ToTimespec(const FileTime& time) { return {time.seconds, time.nanoseconds}; }

Result<void> WriteStat(Task& task, OutPtr<struct stat> to, const Found& found) {
  struct stat st;
  std::memset(&st, 0, sizeof(st));
  const Attr& attr = found.attr;
  st.st_dev = found.device;
  st.st_ino = attr.ino;
  st.st_mode = attr.mode;
  st.st_nlink = attr.nlink;
  st.st_uid = task.creds().ShownUid(attr.uid);
  st.st_gid = task.creds().ShownGid(attr.gid);
  st.st_rdev = attr.rdev;
  st.st_size = static_cast<off_t>(attr.size);
  st.st_blksize = attr.blksize;
  st.st_blocks = static_cast<blkcnt_t>(attr.blocks);
  st.st_atim = ToTimespec(attr.atime);
  st.st_mtim = ToTimespec(attr.mtime);
  st.st_ctim = ToTimespec(attr.ctime);
  return to.Write(task.memory(), st);
}

Result<void> SysNewfstatat(Task& task, Fd dirfd, GuestStr path, OutPtr<struct stat> to, int flags) {
  if (flags & ~(kStatFlags | AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC)) return Err(EINVAL);
  return WriteStat(task, to, TRY(AttrAt(task, dirfd, path, flags)));
}
SYSCALL_ROW(newfstatat, Lane::kShort, Support::kFull, SysNewfstatat, "");

Result<void> SysStat(Task& task, GuestStr path, OutPtr<struct stat> to) {
  return SysNewfstatat(task, AtCwd(), path, to, 0);
}
SYSCALL_ROW(stat, Lane::kShort, Support::kFull, SysStat, "");

Result<void> SysLstat(Task& task, GuestStr path, OutPtr<struct stat> to) {
  return SysNewfstatat(task, AtCwd(), path, to, AT_SYMLINK_NOFOLLOW);
}
SYSCALL_ROW(lstat, Lane::kShort, Support::kFull, SysLstat, "");

Result<void> SysFstat(Task& task, Fd fd, OutPtr<struct stat> to) {
  return WriteStat(task, to, TRY(AttrOfFile(task, TRY(task.fds().GetAny(fd)))));
}
SYSCALL_ROW(fstat, Lane::kShort, Support::kFull, SysFstat, "");

statx_timestamp ToStatx(const FileTime& time) {
  statx_timestamp stamp = {};
  stamp.tv_sec = time.seconds;
  stamp.tv_nsec = time.nanoseconds;
  return stamp;
}

Result<void> SysStatx(Task& task, Fd dirfd, GuestStr path, uint32_t flags, uint32_t mask, OutPtr<struct statx> to) {
  constexpr uint32_t kSyncTypes = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
  if (mask & STATX__RESERVED) return Err(EINVAL);
  if ((flags & kSyncTypes) == kSyncTypes) return Err(EINVAL);
  if (flags & ~(kStatFlags | kSyncTypes)) return Err(EINVAL);
  const Found found = TRY(AttrAt(task, dirfd, path, static_cast<int>(flags & kStatFlags)));
  const Attr& attr = found.attr;
  struct statx st;
  std::memset(&st, 0, sizeof(st));
  st.stx_mask = STATX_BASIC_STATS;
  st.stx_blksize = attr.blksize;
  st.stx_attributes = attr.attributes;
  st.stx_attributes_mask = attr.attributes_mask | STATX_ATTR_MOUNT_ROOT;
  if (found.mount_root) st.stx_attributes |= STATX_ATTR_MOUNT_ROOT;
  st.stx_nlink = attr.nlink;
  st.stx_uid = task.creds().ShownUid(attr.uid);
  st.stx_gid = task.creds().ShownGid(attr.gid);
  st.stx_mode = static_cast<uint16_t>(attr.mode);
  st.stx_ino = attr.ino;
  st.stx_size = attr.size;
  st.stx_blocks = attr.blocks;
  st.stx_atime = ToStatx(attr.atime);
  st.stx_mtime = ToStatx(attr.mtime);
  st.stx_ctime = ToStatx(attr.ctime);
  if (attr.has_btime) {
    st.stx_mask |= STATX_BTIME;
    st.stx_btime = ToStatx(attr.btime);
  }
  st.stx_rdev_major = major(attr.rdev);
  st.stx_rdev_minor = minor(attr.rdev);
  st.stx_dev_major = major(found.device);
  st.stx_dev_minor = minor(found.device);
  if (found.mount_id != 0) {
    const bool unique = mask & kStatxMountIdUnique;
    st.stx_mask |= unique ? kStatxMountIdUnique : STATX_MNT_ID;
    st.stx_mnt_id = unique ? found.unique_mount_id : found.mount_id;
  }
  return to.Write(task.memory(), st);
}
SYSCALL_ROW(statx, Lane::kShort, Support::kFull, SysStatx, "");

}  // namespace
}  // namespace sandbox::syscalls
