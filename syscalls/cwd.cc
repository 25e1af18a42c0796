// chdir(2), fchdir(2), chroot(2), getcwd(2), umask(2).
#include <linux/capability.h>
#include <unistd.h>

#include <climits>

#include "sentry/kernel/task.h"
#include "sentry/vfs/dentry.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<Path> SearchableDirectory(Task& task, GuestStr path) {
  const std::string text = TRY(path.ReadPath(task.memory()));
  WalkOptions options;
  options.require_dir = true;
  Path found = TRY(Walk(task, task.WalkFromCwd(), text, options));
  TRY(found.dentry->inode()->CheckAccess(task, X_OK));
  return found;
}

Result<void> SysChdir(Task& task, GuestStr path) {
  task.fs().SetCwd(TRY(SearchableDirectory(task, path)));
  return {};
}
SYSCALL_ROW(chdir, Lane::kShort, Support::kFull, SysChdir, "");

Result<void> SysFchdir(Task& task, Fd fd) {
  const FileRef file = TRY(task.fds().GetAny(fd));
  const InodeRef inode = file->path().inode();
  if (inode == nullptr || !inode->IsDir(task)) return Err(ENOTDIR);
  TRY(inode->CheckAccess(task, X_OK));
  task.fs().SetCwd(file->path());
  return {};
}
SYSCALL_ROW(fchdir, Lane::kShort, Support::kFull, SysFchdir, "");

Result<void> SysChroot(Task& task, GuestStr path) {
  Path found = TRY(SearchableDirectory(task, path));
  if (!task.creds().HasOwn(CAP_SYS_CHROOT)) return Err(EPERM);
  task.fs().SetRoot(std::move(found));
  return {};
}
SYSCALL_ROW(chroot, Lane::kShort, Support::kFull, SysChroot, "");

Result<size_t> SysGetcwd(Task& task, GuestAddr buffer, uint64_t size) {
  const Path cwd = task.fs().cwd();
  if (cwd.dentry->IsDeleted()) return Err(ENOENT);
  std::string text;
  if (!FormatPath(cwd, task.fs().root(), text)) text = "(unreachable)" + text;
  if (text.size() + 1 > PATH_MAX) return Err(ENAMETOOLONG);
  if (text.size() + 1 > size) return Err(ERANGE);
  TRY(task.memory().Write(buffer, text.c_str(), text.size() + 1));
  return text.size() + 1;
}
SYSCALL_ROW(getcwd, Lane::kShort, Support::kFull, SysGetcwd, "");

Result<uint32_t> SysUmask(Task& task, uint32_t mask) { return task.fs().SetUmask(mask); }
SYSCALL_ROW(umask, Lane::kShort, Support::kFull, SysUmask, "");

}  // namespace
}  // namespace sandbox::syscalls
