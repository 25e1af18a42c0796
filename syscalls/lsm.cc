// lsm_list_modules(2): since Linux 6.8 (Linux: security/lsm_syscalls.c).
#include "sentry/kernel/task.h"
#include "syscalls/newer_calls.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr uint64_t kCapabilityModule = 100;  // LSM_ID_CAPABILITY, which every kernel has

Result<int> SysLsmListModules(Task& task, OutPtr<uint64_t> ids, InOutPtr<uint32_t> size, uint32_t flags) {
  if (flags != 0) return Err(EINVAL);
  const uint32_t room = TRY(size.Read(task.memory()));
  TRY(size.Write(task.memory(), sizeof(kCapabilityModule)));
  if (room < sizeof(kCapabilityModule)) return Err(E2BIG);
  TRY(ids.Write(task.memory(), kCapabilityModule));
  return 1;
}
SYSCALL_ROW(lsm_list_modules, Lane::kShort, Support::kFull, SysLsmListModules, "");

}  // namespace
}  // namespace sandbox::syscalls
