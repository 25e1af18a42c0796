// open_tree(2), move_mount(2), mount_setattr(2): mounts by descriptors.
#include <fcntl.h>
#include <sys/mount.h>

#include <array>
#include <cstring>

#include "abi/mount.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/dentry.h"
#include "syscalls/mount_flags.h"
#include "syscalls/mount_tree.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {

FileRef OpenDetachedTree(RefPtr<MountNamespace> tree) { return MakeRef<TreeFile>(std::move(tree)); }

namespace {

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
constexpr uint32_t kOpenTreeClone = 1;  // OPEN_TREE_CLONE; OPEN_TREE_CLOEXEC is O_CLOEXEC

Result<Fd> SysOpenTree(Task& task, Fd dirfd, GuestStr path, uint32_t flags) {
  constexpr uint32_t kFlags =
      AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | kOpenTreeClone | O_CLOEXEC;
  if (flags & ~kFlags) return Err(EINVAL);
  if ((flags & (AT_RECURSIVE | kOpenTreeClone)) == AT_RECURSIVE) return Err(EINVAL);
  if (flags & kOpenTreeClone) TRY(CheckMayMount(task));
  Path found = TRY(WalkAt(task, dirfd, path, static_cast<int>(flags)));
  FileRef file = flags & kOpenTreeClone
                     ? OpenDetachedTree(TRY(task.mounts()->BindDetached(found, flags & AT_RECURSIVE)))
                     : MakeRef<FileDescription>(std::move(found), O_PATH);
  return task.fds().Install(task, std::move(file), flags & O_CLOEXEC);
}
SYSCALL_ROW(open_tree, Lane::kShort, Support::kFull, SysOpenTree, "");

constexpr uint32_t kFromSymlinks = 0x1, kFromEmptyPath = 0x4, kToSymlinks = 0x10, kToEmptyPath = 0x40,
                   kSetGroup = 0x100, kBeneath = 0x200, kMoveFlags = 0x377;  // MOVE_MOUNT_*

Result<void> SysMoveMount(Task& task, Fd from_fd, GuestStr from, Fd to_fd, GuestStr to, uint32_t flags) {
  TRY(CheckMayMount(task));
  if (flags & ~kMoveFlags) return Err(EINVAL);
  if ((flags & (kBeneath | kSetGroup)) == (kBeneath | kSetGroup)) return Err(EINVAL);
  const auto walk = [&](Fd fd, GuestStr path, bool symlinks, bool empty) {
    return WalkAt(task, fd, path, (symlinks ? 0 : AT_SYMLINK_NOFOLLOW) | (empty ? AT_EMPTY_PATH : 0));
  };
  const Path target = TRY(walk(to_fd, to, flags & kToSymlinks, flags & kToEmptyPath));
  const Path source = TRY(walk(from_fd, from, flags & kFromSymlinks, flags & kFromEmptyPath));
  if (flags & kSetGroup) return MountNamespace::CopyPropagation(source, target);
  if (flags & kBeneath) return Err(EINVAL);
  return task.mounts()->Move(source, target);
}
SYSCALL_ROW(move_mount, Lane::kShort, Support::kPartial, SysMoveMount, "MOVE_MOUNT_BENEATH: EINVAL");

// Linux: build_mount_kattr, build_mount_idmapped.
struct FlagChange {
  MountFlags set = 0, clear = 0;
};
Result<FlagChange> ChangeOf(const abi::MountAttr& attr) {
  if (attr.propagation & ~uint64_t{kPropagationFlags}) return Err(EINVAL);
  if ((attr.propagation & (attr.propagation - 1)) != 0) return Err(EINVAL);
  if ((attr.attr_set | attr.attr_clr) & abi::kMountAttrIdmap) return Err(EINVAL);  // no file system maps ids
  const uint64_t times = attr.attr_clr & abi::kMountAttrAtime;
  if (times != 0 && times != abi::kMountAttrAtime) return Err(EINVAL);
  if (times == 0 && (attr.attr_set & abi::kMountAttrAtime)) return Err(EINVAL);
  FlagChange change;
  change.set = TRY(MountFlagsOfAttributes(attr.attr_set));
  change.clear = TRY(MountFlagsOfAttributes(attr.attr_clr & ~abi::kMountAttrAtime));
  if (times != 0) {
    change.clear |= kAccessTimeFlags;
  } else {
    change.set &= ~kAccessTimeFlags;
    change.clear &= ~kAccessTimeFlags;
  }
  return change;
}

Result<abi::MountAttr> ReadAttr(Task& task, GuestAddr addr, uint64_t size) {
  std::array<char, kPageSize> bytes = {};
  TRY(task.memory().Read(addr, bytes.data(), size));
  for (size_t i = sizeof(abi::MountAttr); i < size; ++i) {
    if (bytes[i] != 0) return Err(E2BIG);
  }
  abi::MountAttr attr;
  std::memcpy(&attr, bytes.data(), sizeof(attr));
  return attr;
}

Result<void> SysMountSetattr(Task& task, Fd dirfd, GuestStr path, uint32_t flags, GuestAddr attr_addr, uint64_t size) {
  if (flags & ~(AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT)) return Err(EINVAL);
  if (size > kPageSize) return Err(E2BIG);
  if (size < sizeof(abi::MountAttr)) return Err(EINVAL);
  TRY(CheckMayMount(task));
  const abi::MountAttr attr = TRY(ReadAttr(task, attr_addr, size));
  if (attr.attr_set == 0 && attr.attr_clr == 0 && attr.propagation == 0) return {};
  const FlagChange change = TRY(ChangeOf(attr));
  const Path found = TRY(WalkAt(task, dirfd, path, static_cast<int>(flags)));
  if (found.mount == nullptr) return Err(EINVAL);
  return MountNamespace::ChangeFlags(found, change.set, change.clear, attr.propagation, flags & AT_RECURSIVE);
}
SYSCALL_ROW(mount_setattr, Lane::kShort, Support::kPartial, SysMountSetattr, "MOUNT_ATTR_IDMAP: EINVAL");

}  // namespace
}  // namespace sandbox::syscalls
