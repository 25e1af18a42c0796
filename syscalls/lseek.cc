// lseek(2).
#include <sys/sysmacros.h>

#include "sentry/kernel/task.h"
#include "sentry/vfs/anon_file.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/io.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// /dev/null and its kin stay at zero whatever is asked (Linux: null_lseek, noop_llseek).
Result<bool> IsMemoryDevice(Task& task, FileDescription& file) {
  constexpr unsigned kMemoryMajor = 1;
  const InodeRef inode = file.path().inode();
  if (inode == nullptr || inode->Type(task) != S_IFCHR) return false;
  return major(TRY(inode->GetAttr(task)).rdev) == kMemoryMajor;
}

Result<int64_t> SysLseek(Task& task, Fd fd, int64_t offset, uint32_t whence) {
  const FileRef file = TRY(task.fds().Get(fd));
  constexpr uint32_t kMaxWhence = 4;  // SEEK_HOLE; Linux refuses the rest before it asks the file
  if (whence > kMaxWhence) return Err(EINVAL);
  if (dynamic_cast<const AnonFile*>(file.get()) != nullptr) return 0;  // Linux: noop_llseek
  if (TRY(IsMemoryDevice(task, *file))) return 0;
  return SeekFile(task, *file, offset, static_cast<int>(whence));
}
SYSCALL_ROW(lseek, Lane::kShort, Support::kFull, SysLseek, "");

}  // namespace
}  // namespace sandbox::syscalls
