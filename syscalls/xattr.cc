// setxattr(2), getxattr(2), listxattr(2), removexattr(2) and their l- and f- forms.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <sys/inotify.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "sentry/kernel/task.h"
#include "sentry/vfs/anonymous.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

#ifndef __NR_setxattrat
#define __NR_setxattrat 463
#define __NR_getxattrat 464
#define __NR_listxattrat 465
#define __NR_removexattrat 466
#endif

namespace sandbox::syscalls {
namespace {

// Linux: xattr_permission.
Result<void> CheckXattrAccess(Task& task, const Path& path, std::string_view name, int mask) {
  Inode& inode = *path.dentry->inode();
  if (mask & W_OK) TRY(RequireWritable(path));
  if (name.starts_with("security.") || name.starts_with("system.")) return {};
  if (name.starts_with("trusted.")) {
    if (!task.creds().Has(CAP_SYS_ADMIN)) return Err(mask & W_OK ? EPERM : ENODATA);
    return {};
  }
  if (name.starts_with("user.")) {
    const Attr attr = TRY(inode.GetAttr(task));
    if (!attr.IsRegular() && !attr.IsDir()) return Err(mask & W_OK ? EPERM : ENODATA);
    if (attr.IsDir() && (attr.mode & S_ISVTX) && (mask & W_OK) && !IsOwnerOrCapable(task.creds(), attr))
      return Err(EPERM);
  }
  return inode.CheckAccess(task, mask);
}

Result<void> CheckNamespace(std::string_view name) {
  for (std::string_view prefix : {"user.", "trusted.", "security.", "system."}) {
    if (!name.starts_with(prefix)) continue;
    if (name.size() == prefix.size()) return Err(EINVAL);
    return {};
  }
  return Err(EOPNOTSUPP);
}

Result<std::string> ReadName(Task& task, GuestAddr name) {
  std::string text = TRY(task.memory().ReadString(name, XATTR_NAME_MAX + 1, ERANGE));
  if (text.empty()) return Err(ERANGE);
  return text;
}

Result<Path> ByPath(Task& task, GuestStr path, bool follow) {
  return WalkAt(task, AtCwd(), path, follow ? 0 : AT_SYMLINK_NOFOLLOW);
}
Result<Path> ByFd(Task& task, Fd fd) { return PathOfFile(TRY(task.fds().Get(fd))); }

struct SetArgs {
  std::string name, value;
  int flags;
};

Result<SetArgs> ReadSetArgs(Task& task, GuestAddr name, GuestAddr value, uint64_t size, int flags) {
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) return Err(EINVAL);
  SetArgs args;
  args.flags = flags;
  args.name = TRY(ReadName(task, name));
  if (size > XATTR_SIZE_MAX) return Err(E2BIG);
  args.value.resize(size);
  TRY(task.memory().Read(value, args.value.data(), size));
  return args;
}

Result<void> Set(Task& task, const Path& path, const SetArgs& args) {
  TRY(CheckXattrAccess(task, path, args.name, W_OK));
  TRY(CheckNamespace(args.name));
  if (args.name.starts_with("security.") &&
      !task.creds().Has(args.name == "security.capability" ? CAP_SETFCAP : CAP_SYS_ADMIN)) {
    return Err(EPERM);
  }
  TRY(path.dentry->inode()->SetXattr(task, args.name, args.value, args.flags));
  NotifyPath(path, IN_ATTRIB);
  return {};
}

Result<size_t> Get(Task& task, const Path& path, GuestAddr name_addr, GuestAddr value, uint64_t size) {
  const std::string name = TRY(ReadName(task, name_addr));
  TRY(CheckXattrAccess(task, path, name, R_OK));
  TRY(CheckNamespace(name));
  const std::string found = TRY(path.dentry->inode()->GetXattr(task, name));
  if (size == 0) return found.size();
  if (found.size() > size) return Err(ERANGE);
  TRY(task.memory().Write(value, found.data(), found.size()));
  return found.size();
}

Result<size_t> List(Task& task, const Path& path, GuestAddr list, uint64_t size) {
  std::string packed;
  const auto names = path.dentry->inode()->ListXattr(task);
  if (names.Is(EOPNOTSUPP)) return size_t{0};  // none, as Linux says of what cannot have any
  for (const std::string& name : TRY(names)) {
    if (name.starts_with("trusted.") && !task.creds().Has(CAP_SYS_ADMIN)) continue;
    packed.append(name).push_back('\0');
  }
  if (size == 0) return packed.size();
  if (packed.size() > size) return Err(ERANGE);
  TRY(task.memory().Write(list, packed.data(), packed.size()));
  return packed.size();
}

Result<void> Remove(Task& task, const Path& path, GuestAddr name_addr) {
  const std::string name = TRY(ReadName(task, name_addr));
  TRY(CheckXattrAccess(task, path, name, W_OK));
  TRY(CheckNamespace(name));
  if (name.starts_with("security.") && !task.creds().Has(name == "security.capability" ? CAP_SETFCAP : CAP_SYS_ADMIN)) {
    return Err(EPERM);
  }
  TRY(path.dentry->inode()->RemoveXattr(task, name));
  NotifyPath(path, IN_ATTRIB);
  return {};
}

Result<void> SysSetxattr(Task& task, GuestStr path, GuestAddr name, GuestAddr value, uint64_t size, int flags) {
  const SetArgs args = TRY(ReadSetArgs(task, name, value, size, flags));
  return Set(task, TRY(ByPath(task, path, true)), args);
}
SYSCALL_ROW(setxattr, Lane::kShort, Support::kPartial, SysSetxattr, "no POSIX ACLs");

Result<void> SysLsetxattr(Task& task, GuestStr path, GuestAddr name, GuestAddr value, uint64_t size, int flags) {
  const SetArgs args = TRY(ReadSetArgs(task, name, value, size, flags));
  return Set(task, TRY(ByPath(task, path, false)), args);
}
SYSCALL_ROW(lsetxattr, Lane::kShort, Support::kPartial, SysLsetxattr, "no POSIX ACLs");

Result<void> SysFsetxattr(Task& task, Fd fd, GuestAddr name, GuestAddr value, uint64_t size, int flags) {
  const Path path = TRY(ByFd(task, fd));
  return Set(task, path, TRY(ReadSetArgs(task, name, value, size, flags)));
}
SYSCALL_ROW(fsetxattr, Lane::kShort, Support::kPartial, SysFsetxattr, "no POSIX ACLs");

Result<size_t> SysGetxattr(Task& task, GuestStr path, GuestAddr name, GuestAddr value, uint64_t size) {
  return Get(task, TRY(ByPath(task, path, true)), name, value, size);
}
SYSCALL_ROW(getxattr, Lane::kShort, Support::kFull, SysGetxattr, "");

Result<size_t> SysLgetxattr(Task& task, GuestStr path, GuestAddr name, GuestAddr value, uint64_t size) {
  return Get(task, TRY(ByPath(task, path, false)), name, value, size);
}
SYSCALL_ROW(lgetxattr, Lane::kShort, Support::kFull, SysLgetxattr, "");

Result<size_t> SysFgetxattr(Task& task, Fd fd, GuestAddr name, GuestAddr value, uint64_t size) {
  return Get(task, TRY(ByFd(task, fd)), name, value, size);
}
SYSCALL_ROW(fgetxattr, Lane::kShort, Support::kFull, SysFgetxattr, "");

Result<size_t> SysListxattr(Task& task, GuestStr path, GuestAddr list, uint64_t size) {
  return List(task, TRY(ByPath(task, path, true)), list, size);
}
SYSCALL_ROW(listxattr, Lane::kShort, Support::kFull, SysListxattr, "");

Result<size_t> SysLlistxattr(Task& task, GuestStr path, GuestAddr list, uint64_t size) {
  return List(task, TRY(ByPath(task, path, false)), list, size);
}
SYSCALL_ROW(llistxattr, Lane::kShort, Support::kFull, SysLlistxattr, "");

Result<size_t> SysFlistxattr(Task& task, Fd fd, GuestAddr list, uint64_t size) {
  return List(task, TRY(ByFd(task, fd)), list, size);
}
SYSCALL_ROW(flistxattr, Lane::kShort, Support::kFull, SysFlistxattr, "");

Result<void> SysRemovexattr(Task& task, GuestStr path, GuestAddr name) {
  return Remove(task, TRY(ByPath(task, path, true)), name);
}
SYSCALL_ROW(removexattr, Lane::kShort, Support::kFull, SysRemovexattr, "");

Result<void> SysLremovexattr(Task& task, GuestStr path, GuestAddr name) {
  return Remove(task, TRY(ByPath(task, path, false)), name);
}
SYSCALL_ROW(lremovexattr, Lane::kShort, Support::kFull, SysLremovexattr, "");

// --- Linux 6.13: by descriptor and path. ---

struct XattrArgs {  // struct xattr_args
  uint64_t value;
  uint32_t size;
  uint32_t flags;
};

Result<XattrArgs> ReadXattrArgs(Task& task, GuestAddr addr, uint64_t size) {
  XattrArgs args;
  if (size < sizeof(args)) return Err(EINVAL);
  if (size > kPageSize) return Err(E2BIG);
  std::vector<char> bytes(size);
  TRY(task.memory().Read(addr, bytes.data(), size));
  if (std::any_of(bytes.begin() + sizeof(args), bytes.end(), [](char byte) { return byte != 0; })) return Err(E2BIG);
  std::memcpy(&args, bytes.data(), sizeof(args));
  return args;
}

// Unlike elsewhere an empty path does not take O_PATH descriptors.
Result<Path> ByAt(Task& task, Fd dirfd, GuestStr path, uint32_t flags) {
  if ((flags & AT_EMPTY_PATH) && dirfd != AtCwd()) {
    char first = 0;
    if (!path.IsNull()) TRY(task.memory().Read(path.addr(), &first, 1));
    if (first == 0) return ByFd(task, dirfd);
  }
  return WalkAt(task, dirfd, path, static_cast<int>(flags));
}
Result<void> CheckAtFlags(uint32_t flags) {
  return flags & ~uint32_t{AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH} ? Err(EINVAL) : Result<void>();
}

Result<void> SysSetxattrat(Task& task, Fd dirfd, GuestStr path, uint32_t flags, GuestAddr name, GuestAddr args_addr,
                           uint64_t size) {
  const XattrArgs args = TRY(ReadXattrArgs(task, args_addr, size));
  TRY(CheckAtFlags(flags));
  const SetArgs set = TRY(ReadSetArgs(task, name, GuestAddr(args.value), args.size, static_cast<int>(args.flags)));
  return Set(task, TRY(ByAt(task, dirfd, path, flags)), set);
}
SYSCALL_ROW(setxattrat, Lane::kShort, Support::kPartial, SysSetxattrat, "no POSIX ACLs");

Result<size_t> SysGetxattrat(Task& task, Fd dirfd, GuestStr path, uint32_t flags, GuestAddr name, GuestAddr args_addr,
                             uint64_t size) {
  const XattrArgs args = TRY(ReadXattrArgs(task, args_addr, size));
  if (args.flags != 0) return Err(EINVAL);
  TRY(CheckAtFlags(flags));
  return Get(task, TRY(ByAt(task, dirfd, path, flags)), name, GuestAddr(args.value), args.size);
}
SYSCALL_ROW(getxattrat, Lane::kShort, Support::kFull, SysGetxattrat, "");

Result<size_t> SysListxattrat(Task& task, Fd dirfd, GuestStr path, uint32_t flags, GuestAddr list, uint64_t size) {
  TRY(CheckAtFlags(flags));
  return List(task, TRY(ByAt(task, dirfd, path, flags)), list, size);
}
SYSCALL_ROW(listxattrat, Lane::kShort, Support::kFull, SysListxattrat, "");

Result<void> SysRemovexattrat(Task& task, Fd dirfd, GuestStr path, uint32_t flags, GuestAddr name) {
  TRY(CheckAtFlags(flags));
  return Remove(task, TRY(ByAt(task, dirfd, path, flags)), name);
}
SYSCALL_ROW(removexattrat, Lane::kShort, Support::kFull, SysRemovexattrat, "");

Result<void> SysFremovexattr(Task& task, Fd fd, GuestAddr name) { return Remove(task, TRY(ByFd(task, fd)), name); }
SYSCALL_ROW(fremovexattr, Lane::kShort, Support::kFull, SysFremovexattr, "");

}  // namespace
}  // namespace sandbox::syscalls
