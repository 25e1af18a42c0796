// membarrier(2), rseq(2), personality(2), sched_yield(2), kcmp(2).
#include <linux/membarrier.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// The global command waits until every CPU has passed a barrier. The host's own does that for all of its threads,
// guests' included; the expedited ones would only reach ours.
Result<int> SysMembarrier(Task&, int command, uint32_t flags, int) {
  if (flags != 0) return Err(EINVAL);
  switch (command) {
    case MEMBARRIER_CMD_QUERY:
      return MEMBARRIER_CMD_GLOBAL;
    case MEMBARRIER_CMD_GLOBAL:
      return HostResult(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0));
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(membarrier, Lane::kShort, Support::kPartial, SysMembarrier, "MEMBARRIER_CMD_GLOBAL only");

// The host switches CPUs under guest threads without telling us, so nobody could keep cpu_id right or abort a
// critical section. The C library falls back to getcpu(2).
SYSCALL_UNSUPPORTED(rseq, ENOSYS, "as CONFIG_RSEQ=n");

Result<int64_t> SysPersonality(Task& task, uint32_t persona) {
  constexpr uint32_t kQuery = 0xffffffff;
  const uint64_t old = task.personality.load();
  if (persona != kQuery) task.personality.store(persona);
  return static_cast<int64_t>(old);
}
SYSCALL_ROW(personality, Lane::kShort, Support::kPartial, SysPersonality, "ADDR_NO_RANDOMIZE acts, the rest is stored");

Result<void> SysSchedYield(Task&) { return {}; }
SYSCALL_ROW(sched_yield, Lane::kShort, Support::kFull, SysSchedYield, "");

// The sign of the difference, which orders objects within one sandbox's life.
int64_t Order(const void* a, const void* b) { return a == b ? 0 : a < b ? 1 : 2; }

Result<int64_t> SysKcmp(Task& task, int32_t pid1, int32_t pid2, int type, uint64_t index1, uint64_t index2) {
  const TaskRef a = task.kernel().FindTask(pid1), b = task.kernel().FindTask(pid2);
  if (a == nullptr || b == nullptr) return Err(ESRCH);
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
    case KCMP_SIGHAND:
      return Order(a->group().handlers().get(), b->group().handlers().get());
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(kcmp, Lane::kShort, Support::kPartial, SysKcmp, "no KCMP_IO, KCMP_SYSVSEM, KCMP_EPOLL_TFD");

}  // namespace
}  // namespace sandbox::syscalls
