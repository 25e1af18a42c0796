// mount(2), umount2(2), pivot_root(2).
#include <linux/capability.h>
#include <sys/mount.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/fs_registry.h"
#include "syscalls/mount_flags.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr unsigned long kNoUser = 1UL << 31;  // SB_NOUSER
constexpr unsigned long kAccessTimes = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;

struct MountArguments {
  std::string source, type, data;
  bool has_type = false;
};

// Linux: copy_mount_string and copy_mount_options, in the order of mount(2).
Result<MountArguments> ReadArguments(Task& task, GuestStr source, GuestAddr type, GuestAddr data) {
  MountArguments arguments;
  arguments.has_type = !type.IsNull();
  if (!type.IsNull()) arguments.type = TRY(task.memory().ReadString(type, kPageSize, EINVAL));
  if (!source.IsNull()) arguments.source = TRY(source.Read(task.memory(), kPageSize, EINVAL));
  if (!data.IsNull()) arguments.data = TRY(task.memory().ReadString(data, kPageSize, EINVAL));
  return arguments;
}

Result<void> Remount(Task& task, const Path& point, unsigned long flags, std::string_view data) {
  if (point.mount == nullptr || point.dentry != point.mount->root()) return Err(EINVAL);
  if (!task.mounts()->Contains(point.mount)) return Err(EINVAL);
  MountFlags wanted = MountFlagsOf(flags);
  // Access times stay as they are unless one is named.
  if ((flags & kAccessTimes) == 0) {
    wanted = (wanted & ~MountFlags{MS_RELATIME}) | (point.mount->flags() & kAccessTimes);
  }
  if (!(flags & MS_BIND)) {
    // Which user namespace a file system belongs to is not kept: options are for the initial one's root only.
    if (!data.empty() && !task.creds().Has(CAP_SYS_ADMIN)) return Err(EPERM);
    if (!data.empty()) TRY(Reconfigure(*point.mount->fs(), data));
  }
  return MountNamespace::ChangeFlags(point, wanted, kMountFlagsMask, 0, false);
}

Result<void> ChangePropagation(Task& task, const Path& point, unsigned long flags) {
  const unsigned long type = flags & kPropagationFlags;
  if ((type & (type - 1)) != 0) return Err(EINVAL);  // exactly one
  if (flags & ~(kPropagationFlags | MS_REC | MS_SILENT)) return Err(EINVAL);
  return task.mounts()->SetPropagation(point, type, flags & MS_REC);
}

Result<void> NewMount(Task& task, const Path& point, const MountArguments& arguments, unsigned long flags) {
  if (!arguments.has_type) return Err(EINVAL);
  const FileSystemType* type = FindFileSystemType(arguments.type);
  if (type == nullptr || !type->guest_mountable) return Err(ENODEV);
  RefPtr<FileSystem> fs = TRY(type->create(task, arguments.source, arguments.data));
  TRY(task.mounts()->MountAt(point, std::move(fs), nullptr, MountFlagsOf(flags), arguments.source));
  return {};
}

Result<void> SysMount(Task& task, GuestStr source, GuestStr target, GuestAddr type, uint64_t flags, GuestAddr data) {
  const MountArguments arguments = TRY(ReadArguments(task, source, type, data));
  // The magic of Linux 2.4 in the upper half is dropped (mount(2)).
  if ((flags & MS_MGC_MSK) == MS_MGC_VAL) flags &= ~uint64_t{MS_MGC_MSK};
  const Path point = TRY(WalkAt(task, AtCwd(), target, 0));
  if (flags & kNoUser) return Err(EINVAL);
  TRY(CheckMayMount(task));
  if (flags & MS_REMOUNT) return Remount(task, point, flags, arguments.data);
  if (flags & MS_BIND) {
    if (arguments.source.empty()) return Err(EINVAL);
    const Path from = TRY(Walk(task, task.WalkFromCwd(), arguments.source, {}));
    TRY(task.mounts()->Bind(from, point, flags & MS_REC));
    return {};
  }
  if (flags & kPropagationFlags) return ChangePropagation(task, point, flags);
  if (flags & MS_MOVE) {
    if (arguments.source.empty()) return Err(EINVAL);
    return task.mounts()->Move(TRY(Walk(task, task.WalkFromCwd(), arguments.source, {})), point);
  }
  return NewMount(task, point, arguments, flags);
}
SYSCALL_ROW(mount, Lane::kShort, Support::kPartial, SysMount,
            "no file systems on block devices; a remount changes the limits of a tmpfs, and MS_RDONLY is one mount's");

Result<void> SysUmount2(Task& task, GuestStr target, int flags) {
  constexpr int kFlags = MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW;
  if (flags & ~kFlags) return Err(EINVAL);
  WalkOptions options;
  options.follow_last = !(flags & UMOUNT_NOFOLLOW);
  const std::string text = TRY(target.ReadPath(task.memory()));
  const Path path = TRY(Walk(task, task.WalkFromCwd(), text, options));
  if (path.mount == nullptr || path.dentry != path.mount->root()) return Err(EINVAL);
  TRY(CheckMayMount(task));
  if (!task.mounts()->Contains(path.mount)) return Err(EINVAL);
  if ((flags & MNT_FORCE) && !task.creds().Has(CAP_SYS_ADMIN)) return Err(EPERM);
  if (!(flags & MNT_EXPIRE)) return task.mounts()->Unmount(path, flags & MNT_DETACH);
  if ((flags & (MNT_FORCE | MNT_DETACH)) || path.mount == task.fs().root().mount) return Err(EINVAL);
  return task.mounts()->Expire(path);
}
SYSCALL_ROW(umount2, Lane::kShort, Support::kFull, SysUmount2, "");

Result<void> SysPivotRoot(Task& task, GuestStr new_root, GuestStr put_old) {
  TRY(CheckMayMount(task));
  const WalkOptions directory{.require_dir = true};
  const std::string new_text = TRY(new_root.ReadPath(task.memory()));
  const Path to = TRY(Walk(task, task.WalkFromCwd(), new_text, directory));
  const std::string old_text = TRY(put_old.ReadPath(task.memory()));
  const Path old = TRY(Walk(task, task.WalkFromCwd(), old_text, directory));
  const Path old_root = task.fs().root();
  const auto mounts = task.mounts();
  TRY(mounts->PivotRoot(old_root, to, old));
  // Every process of the namespace whose root or working directory was the old root moves (Linux: chroot_fs_refs).
  for (const auto& group : task.kernel().Groups()) {
    for (const TaskRef& each : group->tasks()) {
      const auto fs = each->fs_ref();
      if (fs == nullptr || each->mounts() != mounts) continue;
      if (fs->root() == old_root) fs->SetRoot(to);
      if (fs->cwd() == old_root) fs->SetCwd(to);
    }
  }
  return {};
}
SYSCALL_ROW(pivot_root, Lane::kShort, Support::kFull, SysPivotRoot, "");

SYSCALL_UNSUPPORTED(quotactl, ENOSYS, "no quotas");
SYSCALL_UNSUPPORTED(swapon, EPERM, "no swap");
SYSCALL_UNSUPPORTED(swapoff, EPERM, "no swap");

}  // namespace
}  // namespace sandbox::syscalls
