// mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2). Memory is brought in, locks are accounted and shown, but
// nothing is pinned:
// whether guests may pin the host's memory is not a guest's to decide.
#include <sys/mman.h>

#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr char kNote[] = "brought in and accounted, not pinned";

Result<void> SysMlock(Task& task, GuestAddr addr, uint64_t length) {
  return task.mm().Lock(task, task.thread(), addr, length, false);
}
SYSCALL_ROW(mlock, Lane::kFull, Support::kPartial, SysMlock, kNote);

Result<void> SysMlock2(Task& task, GuestAddr addr, uint64_t length, int flags) {
  if (flags & ~MLOCK_ONFAULT) return Err(EINVAL);
  return task.mm().Lock(task, task.thread(), addr, length, flags & MLOCK_ONFAULT);
}
SYSCALL_ROW(mlock2, Lane::kFull, Support::kPartial, SysMlock2, kNote);

Result<void> SysMunlock(Task& task, GuestAddr addr, uint64_t length) { return task.mm().Unlock(addr, length); }
SYSCALL_ROW(munlock, Lane::kShort, Support::kPartial, SysMunlock, kNote);

Result<void> SysMlockall(Task& task, int flags) { return task.mm().LockAll(task, task.thread(), flags); }
SYSCALL_ROW(mlockall, Lane::kFull, Support::kPartial, SysMlockall, kNote);

Result<void> SysMunlockall(Task& task) { return task.mm().UnlockAll(); }
SYSCALL_ROW(munlockall, Lane::kShort, Support::kPartial, SysMunlockall, kNote);

SYSCALL_UNSUPPORTED(memfd_secret, ENOSYS, "as without CONFIG_SECRETMEM");

}  // namespace
}  // namespace sandbox::syscalls
