// mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2). Locks are accounted and shown, memory is not pinned:
// whether guests may pin the host's memory is not a guest's to decide.
#include <sys/mman.h>

#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr char kNote[] = "accounted, not pinned";

Result<void> SysMlock(Task& task, GuestAddr addr, uint64_t length) { return task.mm().Lock(task, addr, length); }
SYSCALL_ROW(mlock, Lane::kShort, Support::kPartial, SysMlock, kNote);

Result<void> SysMlock2(Task& task, GuestAddr addr, uint64_t length, int flags) {
  if (flags & ~MLOCK_ONFAULT) return Err(EINVAL);
  return task.mm().Lock(task, addr, length);
}
SYSCALL_ROW(mlock2, Lane::kShort, Support::kPartial, SysMlock2, kNote);

Result<void> SysMunlock(Task& task, GuestAddr addr, uint64_t length) { return task.mm().Unlock(addr, length); }
SYSCALL_ROW(munlock, Lane::kShort, Support::kPartial, SysMunlock, kNote);

Result<void> SysMlockall(Task& task, int flags) { return task.mm().LockAll(task, flags); }
SYSCALL_ROW(mlockall, Lane::kShort, Support::kPartial, SysMlockall, kNote);

Result<void> SysMunlockall(Task& task) { return task.mm().UnlockAll(); }
SYSCALL_ROW(munlockall, Lane::kShort, Support::kPartial, SysMunlockall, kNote);

SYSCALL_UNSUPPORTED(memfd_secret, ENOSYS, "as without CONFIG_SECRETMEM");

}  // namespace
}  // namespace sandbox::syscalls
