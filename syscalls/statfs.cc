// statfs(2), fstatfs(2), ustat(2), sysfs(2).
#include <sys/mount.h>
#include <sys/statfs.h>

#include <climits>
#include <cstring>

#include "sentry/kernel/task.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/fs_registry.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// statfs(2)'s f_flags for the flags of a mount (Linux: flags_by_mnt).
uint64_t StatFlags(const Path& path) {
  constexpr uint64_t kStValid = 0x20, kStRelatime = 0x1000;
  uint64_t flags = kStValid;
  if (path.mount == nullptr) return flags;
  const MountFlags mount = path.mount->flags();
  // The low flags have the same values as MS_*.
  flags |= mount & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME);
  if (!(mount & (MS_NOATIME | MS_STRICTATIME))) flags |= kStRelatime;
  return flags;
}

Result<void> WriteStatfs(Task& task, const Path& path, OutPtr<struct statfs> to) {
  const RefPtr<FileSystem> fs = path.dentry->inode()->fs();
  if (fs == nullptr) return Err(ENOSYS);
  const FsStat stat = TRY(fs->StatFs(task));
  struct statfs out;
  std::memset(&out, 0, sizeof(out));
  out.f_type = static_cast<long>(stat.type);
  out.f_bsize = out.f_frsize = static_cast<long>(stat.block_size);
  out.f_blocks = stat.blocks;
  out.f_bfree = stat.blocks_free;
  out.f_bavail = stat.blocks_available;
  out.f_files = stat.files;
  out.f_ffree = stat.files_free;
  out.f_fsid.__val[0] = static_cast<int>(stat.fsid);
  out.f_fsid.__val[1] = static_cast<int>(stat.fsid >> 32);
  out.f_namelen = static_cast<long>(stat.name_max);
  out.f_flags = static_cast<long>(stat.flags | StatFlags(path));
  return to.Write(task.memory(), out);
}

Result<void> SysStatfs(Task& task, GuestStr path, OutPtr<struct statfs> to) {
  return WriteStatfs(task, TRY(WalkAt(task, AtCwd(), path, 0)), to);
}
SYSCALL_ROW(statfs, Lane::kShort, Support::kFull, SysStatfs, "");

Result<void> SysFstatfs(Task& task, Fd fd, OutPtr<struct statfs> to) {
  if (fd.number() < 0) return Err(EBADF);
  return WriteStatfs(task, TRY(PathOfFd(task, fd)), to);
}
SYSCALL_ROW(fstatfs, Lane::kShort, Support::kFull, SysFstatfs, "");

// struct ustat of <linux/types.h>, as 64-bit machines have it.
struct Ustat {
  int32_t free_blocks;
  uint64_t free_inodes;
  char name[6], pack[6];
};

// The file system whose st_dev that is, among the mounted ones.
Result<void> SysUstat(Task& task, uint32_t device, OutPtr<Ustat> to) {
  for (const MountInfo& info : task.mounts()->List()) {
    if (info.mount->fs()->device() != device) continue;
    const FsStat stat = TRY(info.mount->fs()->StatFs(task));
    Ustat out;
    std::memset(&out, 0, sizeof(out));
    out.free_blocks = static_cast<int32_t>(stat.blocks_free);
    out.free_inodes = stat.files_free;
    return to.Write(task.memory(), out);
  }
  return Err(EINVAL);
}
SYSCALL_ROW(ustat, Lane::kShort, Support::kFull, SysUstat, "");

// sysfs(2): file system types by number and name.
Result<int64_t> SysSysfs(Task& task, int option, uint64_t first, GuestAddr second) {
  const auto types = AllFileSystemTypes();
  switch (option) {
    case 1: {
      const std::string name = TRY(task.memory().ReadString(GuestAddr(first), PATH_MAX, EINVAL));
      for (size_t i = 0; i < types.size(); ++i) {
        if (types[i]->name == name) return static_cast<int64_t>(i);
      }
      return Err(EINVAL);
    }
    case 2: {
      if (first >= types.size()) return Err(EINVAL);
      const std::string& name = types[first]->name;
      TRY(task.memory().Write(second, name.c_str(), name.size() + 1));
      return 0;
    }
    case 3:
      return static_cast<int64_t>(types.size());
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(sysfs, Lane::kShort, Support::kFull, SysSysfs, "");

}  // namespace
}  // namespace sandbox::syscalls
