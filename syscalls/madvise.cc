// madvise(2), mincore(2), msync(2).
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysMadvise(Task& task, GuestAddr addr, uint64_t length, int advice) {
  return task.mm().Advise(task, task.thread(), addr, length, advice);
}
SYSCALL_ROW(madvise, Lane::kFull, Support::kPartial, SysMadvise, "hints that only the host could see are ignored");

// The host's answer, about this process's own mappings. Of files it tells only what their owner may know.
Result<void> SysMincore(Task& task, GuestAddr addr, uint64_t length, OutPtr<uint8_t> vector) {
  if (!addr.IsPageAligned()) return Err(EINVAL);
  if (!addr.Add(length).ok()) return Err(ENOMEM);
  const uint64_t pages = (length >> 12) + ((length & kPageMask) != 0);
  const auto end = vector.addr().Add(pages);
  if (!end.ok() || *end > task.kernel().platform().guest_range().end) return Err(EFAULT);
  TRY(task.mm().CheckMapped(addr, length));
  if (pages == 0) return {};
  TRY(task.thread().RunCall({.nr = __NR_mincore, .args = {addr.value(), length, vector.addr().value()}}));
  return {};
}
SYSCALL_ROW(mincore, Lane::kFull, Support::kFull, SysMincore, "");

Result<void> SysMsync(Task& task, GuestAddr addr, uint64_t length, int flags) {
  return task.mm().Sync(task, addr, length, flags);
}
SYSCALL_ROW(msync, Lane::kMayBlock, Support::kFull, SysMsync, "");

}  // namespace
}  // namespace sandbox::syscalls
