// mount(2), umount2(2), pivot_root(2).
#include <linux/capability.h>
#include <sys/mount.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/fs_registry.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr unsigned long kPropagation = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;

// Linux: relatime unless something else was said.
MountFlags PerMountFlags(unsigned long flags) {
  MountFlags kept = flags & kMountFlagsMask;
  if (!(kept & (MS_NOATIME | MS_STRICTATIME))) kept |= MS_RELATIME;
  return kept;
}

Result<void> Remount(Task& task, const Path& point, unsigned long flags) {
  if (point.mount == nullptr || point.dentry != point.mount->root()) return Err(EINVAL);
  if (!task.mounts()->Contains(point.mount)) return Err(EINVAL);
  if ((flags & MS_RDONLY) && point.mount->HasWriters()) return Err(EBUSY);
  point.mount->set_flags(PerMountFlags(flags));
  return {};
}

Result<void> ChangePropagation(Task& task, const Path& point, unsigned long flags) {
  const unsigned long type = flags & kPropagation;
  if ((type & (type - 1)) != 0) return Err(EINVAL);  // exactly one
  if (flags & ~(kPropagation | MS_REC | MS_SILENT)) return Err(EINVAL);
  if (point.mount == nullptr || point.dentry != point.mount->root()) return Err(EINVAL);
  if (!(flags & MS_REC)) {
    point.mount->set_propagation(type);
    return {};
  }
  for (const MountRef& mount : task.mounts()->Subtree(point.mount)) mount->set_propagation(type);
  return {};
}

Result<void> NewMount(Task& task, const Path& point, std::string_view source, GuestAddr type_addr, unsigned long flags,
                      GuestAddr data) {
  const std::string type_name = TRY(task.memory().ReadString(type_addr, kPageSize, EINVAL));
  // Linux copies one page of data and ignores a fault in its middle.
  std::string options;
  if (!data.IsNull()) options = TRY(task.memory().ReadString(data, kPageSize, EINVAL));
  const FileSystemType* type = FindFileSystemType(type_name);
  if (type == nullptr || !type->guest_mountable) return Err(ENODEV);
  RefPtr<FileSystem> fs = TRY(type->create(task, source, options));
  TRY(task.mounts()->MountAt(point, std::move(fs), nullptr, PerMountFlags(flags), std::string(source)));
  return {};
}

Result<void> SysMount(Task& task, GuestStr source, GuestStr target, GuestAddr type, uint64_t flags, GuestAddr data) {
  // The magic of Linux 2.4 in the upper half is dropped (mount(2)).
  if ((flags & MS_MGC_MSK) == MS_MGC_VAL) flags &= ~uint64_t{MS_MGC_MSK};
  std::string source_text;
  if (!source.IsNull()) source_text = TRY(source.ReadPath(task.memory()));
  const Path point = TRY(WalkAt(task, AtCwd(), target, 0));
  if (!task.creds().HasIn(*task.mounts()->owner(), CAP_SYS_ADMIN)) return Err(EPERM);
  if (flags & MS_REMOUNT) return Remount(task, point, flags);
  if (flags & MS_BIND) {
    if (source_text.empty()) return Err(EINVAL);
    const Path from = TRY(Walk(task, task.WalkFromCwd(), source_text, {}));
    TRY(task.mounts()->Bind(from, point, flags & MS_REC));
    return {};
  }
  if (flags & kPropagation) return ChangePropagation(task, point, flags);
  if (flags & MS_MOVE) {
    if (source_text.empty()) return Err(EINVAL);
    return task.mounts()->Move(TRY(Walk(task, task.WalkFromCwd(), source_text, {})), point);
  }
  if (type.IsNull()) return Err(EINVAL);
  return NewMount(task, point, source_text, type, flags, data);
}
SYSCALL_ROW(mount, Lane::kShort, Support::kPartial, SysMount,
            "propagation types are recorded, events do not propagate; options of a remount are ignored");

Result<void> SysUmount2(Task& task, GuestStr target, int flags) {
  constexpr int kFlags = MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW;
  if (flags & ~kFlags) return Err(EINVAL);
  WalkOptions options;
  options.follow_last = !(flags & UMOUNT_NOFOLLOW);
  const std::string text = TRY(target.ReadPath(task.memory()));
  const Path path = TRY(Walk(task, task.WalkFromCwd(), text, options));
  if (path.mount == nullptr || path.dentry != path.mount->root()) return Err(EINVAL);
  if (!task.creds().HasIn(*task.mounts()->owner(), CAP_SYS_ADMIN)) return Err(EPERM);
  if (flags & MNT_EXPIRE) return Err(flags & (MNT_FORCE | MNT_DETACH) ? EINVAL : EAGAIN);
  return task.mounts()->Unmount(path, flags & MNT_DETACH);
}
SYSCALL_ROW(umount2, Lane::kShort, Support::kPartial, SysUmount2, "MNT_EXPIRE marks nothing");

Result<void> SysPivotRoot(Task& task, GuestStr new_root, GuestStr put_old) {
  if (!task.creds().HasIn(*task.mounts()->owner(), CAP_SYS_ADMIN)) return Err(EPERM);
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

SYSCALL_UNSUPPORTED(open_tree, ENOSYS, "new mount interface; mount(2) works");
SYSCALL_UNSUPPORTED(move_mount, ENOSYS, "new mount interface; mount(2) works");
SYSCALL_UNSUPPORTED(fsopen, ENOSYS, "new mount interface; mount(2) works");
SYSCALL_UNSUPPORTED(fsconfig, ENOSYS, "new mount interface; mount(2) works");
SYSCALL_UNSUPPORTED(fsmount, ENOSYS, "new mount interface; mount(2) works");
SYSCALL_UNSUPPORTED(fspick, ENOSYS, "new mount interface; mount(2) works");
SYSCALL_UNSUPPORTED(mount_setattr, ENOSYS, "new mount interface; mount(2) works");
SYSCALL_UNSUPPORTED(quotactl, ENOSYS, "no quotas");
SYSCALL_UNSUPPORTED(swapon, EPERM, "no swap");
SYSCALL_UNSUPPORTED(swapoff, EPERM, "no swap");

}  // namespace
}  // namespace sandbox::syscalls
