// The namespace operations of the VFS: what open(2), mkdir(2), rename(2) … do after their arguments were copied in.
// Every permission check, sticky-bit rule, read-only mount check and inotify event is made here, once.
#pragma once

#include <string_view>

#include "base/result.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/walk.h"

namespace sandbox {

struct OpenOptions {
  int flags = 0;      // O_*
  uint32_t mode = 0;  // before the umask; used with O_CREAT and O_TMPFILE
  uint32_t umask = 0;
  uint64_t resolve = 0;  // RESOLVE_*
};

Result<FileRef> Open(Context&, const WalkBase&, std::string_view path, const OpenOptions&);
// Opens an object that was already found (open_by_handle_at, sockets' directories…), with all checks of open(2).
Result<FileRef> OpenPath(Context&, const Path&, int flags);
// MAY_EXEC check and open for execve: EACCES for noexec mounts and non-regular files.
Result<FileRef> OpenForExec(Context&, const WalkBase&, std::string_view path, const WalkOptions&);

Result<void> MakeNode(Context&, const WalkBase&, std::string_view path, uint32_t mode, uint64_t rdev, uint32_t umask);
// As MakeNode, and returns the new inode (bind of a unix socket).
Result<Path> MakeNodePath(Context&, const WalkBase&, std::string_view path, uint32_t mode, uint64_t rdev,
                          uint32_t umask);
Result<void> MakeDir(Context&, const WalkBase&, std::string_view path, uint32_t mode, uint32_t umask);
Result<void> MakeSymlink(Context&, const WalkBase&, std::string_view target, std::string_view path);
Result<void> MakeLink(Context&, const Path& target, const WalkBase&, std::string_view path);
Result<void> Unlink(Context&, const WalkBase&, std::string_view path);
Result<void> RemoveDir(Context&, const WalkBase&, std::string_view path);
Result<void> Rename(Context&, const WalkBase& from_base, std::string_view from, const WalkBase& to_base,
                    std::string_view to, unsigned flags);

// Attribute changes with Linux's rules (chown clears set-id bits, utimes ownership, truncate permission…).
Result<void> ChangeMode(Context&, const Path&, uint32_t mode);
Result<void> ChangeOwner(Context&, const Path&, std::optional<uint32_t> uid, std::optional<uint32_t> gid);
// nullopt leaves a time alone; `now` marks "set to current time", which needs only write permission.
struct TimeChange {
  std::optional<FileTime> time;
  bool now = false;
};
Result<void> ChangeTimes(Context&, const Path&, TimeChange atime, TimeChange mtime);
Result<void> Truncate(Context&, const Path&, uint64_t size);
// ftruncate(2): the permission was checked when `file` was opened.
Result<void> TruncateFile(Context&, FileDescription& file, uint64_t size);
// RLIMIT_FSIZE for a change to `size`: EFBIG with SIGXFSZ.
Result<void> CheckSizeLimit(Context&, uint64_t size);
// The mode without the set-id bits a write by `creds` takes away, or nothing (Linux: should_remove_suid).
std::optional<uint32_t> ModeAfterWrite(const Credentials& creds, const Attr& attr);
// EROFS when the mount is read-only.
Result<void> RequireWritable(const Path& path);
// access(2) with real ids and faccessat2's AT_EACCESS. `mask`: R_OK|W_OK|X_OK, 0 for existence.
Result<void> CheckPathAccess(Context&, const Path&, int mask, bool effective);

}  // namespace sandbox
