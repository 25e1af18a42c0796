// mseal(2).
#include "sentry/kernel/task.h"
#include "syscalls/newer_calls.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SysMseal(Task& task, GuestAddr addr, uint64_t length, uint64_t flags) {
  if (flags != 0) return Err(EINVAL);
  return task.mm().Seal(addr, length);
}
SYSCALL_ROW(mseal, Lane::kShort, Support::kFull, SysMseal, "");

}  // namespace
}  // namespace sandbox::syscalls
