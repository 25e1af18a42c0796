// process_vm_readv(2), process_vm_writev(2), process_madvise(2), process_mrelease(2).
#include <linux/capability.h>
#include <sys/mman.h>

#include <algorithm>
#include <climits>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
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

// Advice that changes nothing the target could see is all there is: it is checked, and not passed on.
Result<int64_t> SysProcessMadvise(Task& task, Fd pidfd, GuestAddr vector, uint64_t count, int advice, uint32_t flags) {
  if (flags != 0) return Err(EINVAL);
  if (count > IOV_MAX) return Err(EINVAL);
  const auto far = TRY(InPtr<GuestIovec>(vector).ReadArray(task.memory(), count));
  const TaskRef target = TRY(GroupOfPidFd(task, pidfd))->leader();
  const auto mm = target == nullptr ? nullptr : target->mm_ref();
  if (mm == nullptr) return Err(ESRCH);
  constexpr int kCollapse = 25;  // MADV_COLLAPSE
  const bool own = &target->group() == &task.group();
  if (!own && advice != MADV_COLD && advice != MADV_PAGEOUT && advice != MADV_WILLNEED && advice != kCollapse) {
    return Err(EINVAL);
  }
  TRY(MayInspect(task, *target, false));
  if (!own && !task.creds().Has(CAP_SYS_NICE)) return Err(EPERM);
  int64_t done = 0;
  for (const GuestIovec& range : far) {
    const GuestAddr at(range.base);
    Result<void> advised = at.IsPageAligned() ? Result<void>() : Err(EINVAL);
    if (advised.ok()) {
      advised = own ? mm->Advise(task, task.thread(), at, range.length, advice) : mm->CheckMapped(at, range.length);
    }
    if (!advised.ok()) return done > 0 ? Result<int64_t>(done) : advised.error();
    done += static_cast<int64_t>(range.length);
  }
  return done;
}
SYSCALL_ROW(process_madvise, Lane::kFull, Support::kPartial, SysProcessMadvise, "hints about others change nothing");

// The memory of a dying process is freed by its own exit, which is under way.
Result<void> SysProcessMrelease(Task& task, Fd pidfd, uint32_t flags) {
  if (flags != 0) return Err(EINVAL);
  const ThreadGroupRef group = TRY(GroupOfPidFd(task, pidfd));
  if (group->zombie()) return Err(ESRCH);
  if (!group->exiting()) return Err(EINVAL);
  return {};
}
SYSCALL_ROW(process_mrelease, Lane::kShort, Support::kFull, SysProcessMrelease, "");

}  // namespace
}  // namespace sandbox::syscalls
