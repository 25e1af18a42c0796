// membarrier(2), rseq(2), personality(2), sched_yield(2), kcmp(2).
#include <linux/kcmp.h>
#include <linux/membarrier.h>
#include <linux/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "sentry/fs/anon/epoll.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ptrace_access.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// What the host offers, but for the global expedited commands: those reach every process that registered for them, and
// which of the host's do is no business of a sandbox.
constexpr int kCommands = MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_PRIVATE_EXPEDITED |
                          MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE |
                          MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ |
                          MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ;

// The private commands are about the caller's address space, so the host executes them there, and keeps the
// registrations: it copies them at fork, and a new program starts without any, as it should.
Result<int> SysMembarrier(Task& task, int command, uint32_t flags, int) {
  static const long offered = std::max(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0), 0L) & kCommands;
  if (flags != 0) return Err(EINVAL);
  if (command == MEMBARRIER_CMD_QUERY) return static_cast<int>(offered);
  if ((command & (command - 1)) != 0 || !(command & offered)) return Err(EINVAL);
  if (command == MEMBARRIER_CMD_GLOBAL) return HostResult(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0));
  const GuestAddr nowhere = task.mm().range().start;
  task.thread().QueueMemoryOp(
      {.kind = platform::MemoryOp::Kind::kMembarrier, .range = {nowhere, nowhere}, .flags = command});
  return 0;
}
SYSCALL_ROW(membarrier, Lane::kFull, Support::kPartial, SysMembarrier,
            "no MEMBARRIER_CMD_GLOBAL_EXPEDITED, no CMD_FLAG_CPU");

Result<void> SysRseq(Task& task, GuestAddr area, uint32_t length, int flags, uint32_t signature) {
  if (flags == RSEQ_FLAG_UNREGISTER) return task.UnregisterRseq(area, length, signature);
  if (flags != 0) return Err(EINVAL);
  return task.RegisterRseq(area, length, signature);
}
SYSCALL_ROW(rseq, Lane::kFull, Support::kFull, SysRseq, "");

Result<int64_t> SysPersonality(Task& task, uint32_t persona) {
  constexpr uint32_t kQuery = 0xffffffff;
  const uint64_t old = task.personality.load();
  if (persona != kQuery) task.personality.store(persona);
  return static_cast<int64_t>(old);
}
SYSCALL_ROW(personality, Lane::kShort, Support::kPartial, SysPersonality,
            "ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC act, and PER_LINUX32 and UNAME26 on uname; the rest is stored");

Result<void> SysSchedYield(Task&) { return {}; }
SYSCALL_ROW(sched_yield, Lane::kShort, Support::kFull, SysSchedYield, "");

// The sign of the difference, which orders objects within one sandbox's life.
int64_t Order(const void* a, const void* b) { return a == b ? 0 : a < b ? 1 : 2; }

Result<int64_t> SysKcmp(Task& task, int32_t pid1, int32_t pid2, int type, uint64_t index1, uint64_t index2) {
  const TaskRef a = task.Find(pid1), b = task.Find(pid2);
  if (a == nullptr || b == nullptr) return Err(ESRCH);
  TRY(MayInspect(task, *a, true));
  TRY(MayInspect(task, *b, true));
  switch (type) {
    case KCMP_FILE: {
      const RefPtr<FdTable> fds1 = a->fds_ref(), fds2 = b->fds_ref();
      if (fds1 == nullptr || fds2 == nullptr) return Err(EBADF);
      const FileRef file1 = TRY(fds1->GetAny(Fd(static_cast<int32_t>(index1))));
      const FileRef file2 = TRY(fds2->GetAny(Fd(static_cast<int32_t>(index2))));
      return Order(file1.get(), file2.get());
    }
    case KCMP_VM:
      return Order(a->mm_ref().get(), b->mm_ref().get());
    case KCMP_FILES:
      return Order(a->fds_ref().get(), b->fds_ref().get());
    case KCMP_FS:
      return Order(a->fs_ref().get(), b->fs_ref().get());
    case KCMP_IO:
    case KCMP_SYSVSEM:
      // No task has an I/O context; undo lists belong to processes, and most have none.
      return 0;
    case KCMP_SIGHAND:
      return Order(a->group().handlers().get(), b->group().handlers().get());
    case KCMP_EPOLL_TFD: {
      const auto slot = TRY(InPtr<kcmp_epoll_slot>(GuestAddr(index2)).Read(task.memory()));
      const RefPtr<FdTable> fds1 = a->fds_ref(), fds2 = b->fds_ref();
      if (fds1 == nullptr || fds2 == nullptr) return Err(EBADF);
      const FileRef file = TRY(fds1->GetAny(Fd(static_cast<int32_t>(index1))));
      const FileRef set = TRY(fds2->GetAny(Fd(static_cast<int32_t>(slot.efd))));
      auto* const epoll = dynamic_cast<Epoll*>(set.get());
      if (epoll == nullptr) return Err(EINVAL);
      const FileRef target = TRY(epoll->Target(static_cast<int32_t>(slot.tfd), slot.toff));
      return Order(file.get(), target.get());
    }
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(kcmp, Lane::kShort, Support::kPartial, SysKcmp, "semaphore undo lists count as none");

}  // namespace
}  // namespace sandbox::syscalls
