// shmget(2), shmat(2), shmdt(2), shmctl(2).
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>

#include "sentry/kernel/sysv_shm.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

RefPtr<ShmTable> Table(Task& task) { return ShmTable::Of(*task.ipc()); }

Result<int> SysShmget(Task& task, int32_t key, uint64_t size, int flags) {
  if (flags & SHM_HUGETLB) return Err(ENOMEM);  // no huge page pool
  return Table(task)->Get(task, key, size, flags);
}
SYSCALL_ROW(shmget, Lane::kShort, Support::kFull, SysShmget, "");

Result<GuestAddr> SysShmat(Task& task, int id, GuestAddr addr, int flags) {
  if (!addr.IsNull() && !addr.IsPageAligned()) {
    if (!(flags & SHM_RND)) return Err(EINVAL);
    addr = addr.PageDown();
  }
  if (addr.IsNull() && (flags & SHM_REMAP)) return Err(EINVAL);
  const auto table = Table(task);
  const auto segment = TRY(table->Find(id));
  const bool read_only = flags & SHM_RDONLY;
  const uint32_t wanted = (read_only ? 0444 : 0666) | (flags & SHM_EXEC ? 0111 : 0);
  TRY(table->WithLock([&] { return CheckIpc(task.creds(), segment->permissions, wanted); }));

  MapRequest request{.hint = addr, .length = segment->size(), .prot = PROT_READ, .flags = MAP_SHARED};
  if (!read_only) request.prot |= PROT_WRITE;
  if (flags & SHM_EXEC) request.prot |= PROT_EXEC;
  if (read_only) request.max_prot &= ~PROT_WRITE;
  if (!addr.IsNull()) request.flags |= flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
  request.mappable = segment;
  auto result = task.mm().Map(task, task.thread(), request);
  if (result.Is(EEXIST)) return Err(EINVAL);
  if (result.ok()) segment->last_pid = task.tgid();
  return result;
}
SYSCALL_ROW(shmat, Lane::kFull, Support::kFull, SysShmat, "");

Result<void> SysShmdt(Task& task, GuestAddr addr) {
  if (!addr.IsPageAligned()) return Err(EINVAL);
  // The first mapping that could come from an attach at `addr` names the segment; all its parts go (Linux: ksys_shmdt).
  RefPtr<ShmSegment> segment;
  for (const Vma& vma : task.mm().List()) {
    if (vma.range.start < addr || vma.range.start - addr != vma.offset) continue;
    auto candidate = std::dynamic_pointer_cast<ShmSegment>(vma.mappable);
    if (candidate == nullptr || (segment != nullptr && candidate != segment)) continue;
    if (vma.offset >= candidate->size()) continue;
    segment = std::move(candidate);
    TRY(task.mm().Unmap(task, task.thread(), vma.range.start, vma.range.length()));
  }
  if (segment == nullptr) return Err(EINVAL);
  segment->last_pid = task.tgid();
  return {};
}
SYSCALL_ROW(shmdt, Lane::kFull, Support::kFull, SysShmdt, "");

shmid_ds Describe(Task& task, ShmTable& table, const ShmSegment& segment) {
  shmid_ds info = {};
  table.WithLock([&] {
    CopyPermissions(task.creds(), segment.permissions, info.shm_perm);
    return 0;
  });
  if (segment.destroyed.load()) info.shm_perm.mode |= SHM_DEST;
  if (segment.locked.load()) info.shm_perm.mode |= SHM_LOCKED;
  info.shm_segsz = segment.size();
  info.shm_atime = segment.attach_time.load();
  info.shm_dtime = segment.detach_time.load();
  info.shm_ctime = segment.change_time.load();
  info.shm_cpid = segment.creator_pid;
  info.shm_lpid = segment.last_pid.load();
  info.shm_nattch = static_cast<shmatt_t>(segment.attached.load());
  return info;
}

Result<int> Limits(Task& task, ShmTable& table, int command, GuestAddr out) {
  const int highest = static_cast<int>(table.size()) - 1;
  if (command == IPC_INFO) {
    shminfo info = {};
    info.shmmax = table.max_bytes.load();
    info.shmall = table.max_pages.load();
    info.shmmin = 1;
    info.shmmni = info.shmseg = table.most();
    TRY(OutPtr<shminfo>(out).Write(task.memory(), info));
  } else {
    shm_info info = {};
    info.used_ids = highest + 1;
    for (const auto& segment : table.All()) {
      info.shm_tot += (segment->size() + kPageMask) / kPageSize;
      info.shm_rss += segment->resident_pages();
    }
    TRY(OutPtr<shm_info>(out).Write(task.memory(), info));
  }
  return std::max(highest, 0);
}

Result<void> Change(Task& task, ShmTable& table, ShmSegment& segment, GuestAddr in) {
  const shmid_ds wanted = TRY(InPtr<shmid_ds>(in).Read(task.memory()));
  return table.WithLock([&]() -> Result<void> {
    TRY(CheckIpcOwner(task.creds(), segment.permissions));
    TRY(SetPermissions(task.creds(), wanted.shm_perm, segment.permissions));
    segment.change_time = RealtimeNowNs() / 1'000'000'000;
    return {};
  });
}

// SHM_LOCK and SHM_UNLOCK: the owner's, within RLIMIT_MEMLOCK, or CAP_IPC_LOCK's.
Result<void> CheckLockOwner(Task& task, const IpcPermissions& permissions, bool lock) {
  const Credentials& creds = task.creds();
  if (creds.Has(CAP_IPC_LOCK)) return {};
  if (creds.euid != permissions.uid && creds.euid != permissions.cuid) return Err(EPERM);
  if (lock && task.rlimit(RLIMIT_MEMLOCK) == 0) return Err(EPERM);
  return {};
}

Result<int> SysShmctl(Task& task, int id, int command, GuestAddr buffer) {
  const auto table = Table(task);
  switch (command) {
    case IPC_INFO:
    case SHM_INFO:
      return Limits(task, *table, command, buffer);
    case SHM_STAT:
    case SHM_STAT_ANY:
    case IPC_STAT: {
      const auto segment = TRY(command == IPC_STAT ? table->Find(id) : table->At(id));
      if (command != SHM_STAT_ANY) {
        TRY(table->WithLock([&] { return CheckIpc(task.creds(), segment->permissions, 0444); }));
      }
      TRY(OutPtr<shmid_ds>(buffer).Write(task.memory(), Describe(task, *table, *segment)));
      return command == IPC_STAT ? 0 : segment->id;
    }
    case IPC_SET: {
      TRY(Change(task, *table, *TRY(table->Find(id)), buffer));
      return 0;
    }
    case IPC_RMID: {
      const auto segment = TRY(table->Find(id));
      TRY(table->WithLock([&] { return CheckIpcOwner(task.creds(), segment->permissions); }));
      segment->Destroy();
      return 0;
    }
    case SHM_LOCK:
    case SHM_UNLOCK: {
      const auto segment = TRY(table->Find(id));
      TRY(table->WithLock([&] { return CheckLockOwner(task, segment->permissions, command == SHM_LOCK); }));
      segment->locked.store(command == SHM_LOCK);
      return 0;
    }
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(shmctl, Lane::kShort, Support::kPartial, SysShmctl, "SHM_LOCK is accounted to nobody");

}  // namespace
}  // namespace sandbox::syscalls
