// memfd_create(2).
#include <fcntl.h>
#include <sys/mman.h>

#include <climits>

#include "sentry/fs/tmpfs/shared_memory.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

namespace sandbox::syscalls {
namespace {

Result<Fd> SysMemfdCreate(Task& task, GuestAddr name, uint32_t flags) {
  if (flags & MFD_HUGETLB) return Err(ENOSYS);  // as without CONFIG_HUGETLBFS
  if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC)) return Err(EINVAL);
  if ((flags & MFD_EXEC) && (flags & MFD_NOEXEC_SEAL)) return Err(EINVAL);
  constexpr size_t kMaxName = NAME_MAX - 6;  // after "memfd:", with its NUL (memfd_create(2): 249 bytes)
  const std::string text = TRY(task.memory().ReadString(name, kMaxName + 1, EINVAL));
  uint32_t seals = flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) ? 0 : F_SEAL_SEAL;
  if (flags & MFD_NOEXEC_SEAL) seals |= F_SEAL_EXEC;
  const uint32_t mode = flags & MFD_NOEXEC_SEAL ? 0666 : 0777;
  FileRef file = TRY(MakeMemoryFile(task, text, seals, mode));
  return task.fds().Install(task, std::move(file), flags & MFD_CLOEXEC);
}
SYSCALL_ROW(memfd_create, Lane::kShort, Support::kPartial, SysMemfdCreate, "no huge pages");

}  // namespace
}  // namespace sandbox::syscalls
