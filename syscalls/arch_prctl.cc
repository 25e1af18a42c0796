// arch_prctl(2) of x86-64.
#include <asm/prctl.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<int64_t> SysArchPrctl(Task& task, int option, uint64_t value) {
  arch::Registers& regs = task.thread().regs();
  const uint64_t limit = task.kernel().platform().guest_range().end.value();
  switch (option) {
    case ARCH_SET_FS:
      if (value >= limit) return Err(EPERM);
      regs.fs_base = value;
      return 0;
    case ARCH_SET_GS:
      if (value >= limit) return Err(EPERM);
      regs.gs_base = value;
      return 0;
    case ARCH_GET_FS:
      TRY(OutPtr<uint64_t>(GuestAddr(value)).Write(task.memory(), regs.fs_base));
      return 0;
    case ARCH_GET_GS:
      TRY(OutPtr<uint64_t>(GuestAddr(value)).Write(task.memory(), regs.gs_base));
      return 0;
    case ARCH_GET_CPUID:
      return 1;
    case ARCH_SET_CPUID:
      return Err(ENODEV);  // as on a processor that cannot make it fault
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(arch_prctl, Lane::kFull, Support::kPartial, SysArchPrctl,
            "FS and GS bases only; no CPUID faulting, no CET");

}  // namespace
}  // namespace sandbox::syscalls
