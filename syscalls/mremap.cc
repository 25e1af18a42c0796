// mremap(2).
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<GuestAddr> SysMremap(Task& task, GuestAddr old_addr, uint64_t old_length, uint64_t new_length, uint64_t flags,
                            GuestAddr new_addr) {
  if (flags > INT32_MAX) return Err(EINVAL);
  return task.mm().Remap(task, task.thread(), old_addr, old_length, new_length, static_cast<int>(flags), new_addr);
}
SYSCALL_ROW(mremap, Lane::kFull, Support::kFull, SysMremap, "");

}  // namespace
}  // namespace sandbox::syscalls
