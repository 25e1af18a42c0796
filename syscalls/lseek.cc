// lseek(2).
#include "sentry/kernel/task.h"
#include "sentry/vfs/anon_file.h"
#include "sentry/vfs/io.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<int64_t> SysLseek(Task& task, Fd fd, int64_t offset, uint32_t whence) {
  const FileRef file = TRY(task.fds().Get(fd));
  constexpr uint32_t kMaxWhence = 4;  // SEEK_HOLE; Linux refuses the rest before it asks the file
  if (whence > kMaxWhence) return Err(EINVAL);
  if (dynamic_cast<const AnonFile*>(file.get()) != nullptr) return 0;  // Linux: noop_llseek
  return SeekFile(task, *file, offset, static_cast<int>(whence));
}
SYSCALL_ROW(lseek, Lane::kShort, Support::kFull, SysLseek, "");

}  // namespace
}  // namespace sandbox::syscalls
