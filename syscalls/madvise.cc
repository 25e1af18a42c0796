// madvise(2), mincore(2), msync(2).
#include <algorithm>

#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysMadvise(Task& task, GuestAddr addr, uint64_t length, int advice) {
  return task.mm().Advise(task, task.thread(), addr, length, advice);
}
SYSCALL_ROW(madvise, Lane::kFull, Support::kPartial, SysMadvise, "hints that only the host could see are ignored");

// Says "resident" of every mapped page: legal at any time, since the answer may be stale when it arrives, and all that
// may be told; which pages of shared files are cached is the host's secret (CVE-2019-5489).
Result<void> SysMincore(Task& task, GuestAddr addr, uint64_t length, OutPtr<uint8_t> vector) {
  if (!addr.IsPageAligned()) return Err(EINVAL);
  const auto end = addr.Add(length);
  if (!end.ok()) return Err(ENOMEM);
  uint64_t pages = (length >> 12) + ((length & kPageMask) != 0);
  TRY(task.mm().CheckMapped(addr, length));
  const std::vector<uint8_t> resident(std::min<uint64_t>(pages, kPageSize), 1);
  GuestAddr to = vector.addr();
  while (pages > 0) {
    const uint64_t chunk = std::min<uint64_t>(pages, resident.size());
    TRY(task.memory().Write(to, resident.data(), chunk));
    to = TRY(to.Add(chunk));
    pages -= chunk;
  }
  return {};
}
SYSCALL_ROW(mincore, Lane::kShort, Support::kPartial, SysMincore, "mapped pages count as resident");

Result<void> SysMsync(Task& task, GuestAddr addr, uint64_t length, int flags) {
  return task.mm().Sync(task, addr, length, flags);
}
SYSCALL_ROW(msync, Lane::kMayBlock, Support::kFull, SysMsync, "");

}  // namespace
}  // namespace sandbox::syscalls
