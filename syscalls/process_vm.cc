// process_vm_readv(2), process_vm_writev(2).
#include <algorithm>
#include <climits>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ptrace_access.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// PTRACE_MODE_ATTACH_REALCREDS.
Result<RefPtr<MemoryManager>> MemoryOf(Task& task, int32_t pid) {
  const TaskRef target = task.Find(pid);
  if (target == nullptr) return Err(ESRCH);
  RefPtr<MemoryManager> mm = target->mm_ref();
  if (mm == nullptr) return Err(ESRCH);
  TRY(MayInspect(task, *target, /*real_ids=*/true));
  return mm;
}

Result<int64_t> Transfer(Task& task, int32_t pid, GuestAddr local, uint64_t local_count, GuestAddr remote,
                         uint64_t remote_count, uint64_t flags, bool write) {
  if (flags != 0) return Err(EINVAL);
  IoSequence near = TRY(IoSequence::GuestIovecs(task.memory(), local, local_count));
  if (near.empty()) return 0;
  if (remote_count > IOV_MAX) return Err(EINVAL);
  const auto far = TRY(InPtr<GuestIovec>(remote).ReadArray(task.memory(), remote_count));
  for (const GuestIovec& entry : far) {
    if (static_cast<int64_t>(entry.length) < 0) return Err(EINVAL);
  }
  // With nothing to do nobody is asked for.
  if (std::all_of(far.begin(), far.end(), [](const GuestIovec& entry) { return entry.length == 0; })) return 0;
  const RefPtr<MemoryManager> mm = TRY(MemoryOf(task, pid));
  std::vector<uint8_t> buffer(64 * 1024);
  int64_t done = 0;
  for (const GuestIovec& entry : far) {
    uint64_t at = entry.base, left = entry.length;
    while (left > 0 && !near.empty()) {
      const size_t want = std::min({left, uint64_t{buffer.size()}, uint64_t{near.remaining()}});
      const auto moved = [&]() -> Result<size_t> {
        if (write) {
          const size_t got = TRY(near.PeekIn(buffer.data(), want));
          const size_t put = TRY(mm->WriteSome(GuestAddr(at), buffer.data(), got));
          near.Advance(put);
          return put;
        }
        const size_t got = TRY(mm->ReadSome(GuestAddr(at), buffer.data(), want));
        return near.CopyOut(buffer.data(), got);
      }();
      if (!moved.ok()) return done > 0 ? Result<int64_t>(done) : moved.error();
      done += static_cast<int64_t>(*moved);
      at += *moved;
      left -= *moved;
      if (*moved < want) return done;
    }
  }
  return done;
}

Result<int64_t> SysProcessVmReadv(Task& task, int32_t pid, GuestAddr local, uint64_t local_count, GuestAddr remote,
                                  uint64_t remote_count, uint64_t flags) {
  return Transfer(task, pid, local, local_count, remote, remote_count, flags, false);
}
SYSCALL_ROW(process_vm_readv, Lane::kShort, Support::kFull, SysProcessVmReadv, "");

Result<int64_t> SysProcessVmWritev(Task& task, int32_t pid, GuestAddr local, uint64_t local_count, GuestAddr remote,
                                   uint64_t remote_count, uint64_t flags) {
  return Transfer(task, pid, local, local_count, remote, remote_count, flags, true);
}
SYSCALL_ROW(process_vm_writev, Lane::kShort, Support::kFull, SysProcessVmWritev, "");

}  // namespace
}  // namespace sandbox::syscalls
