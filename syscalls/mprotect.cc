// mprotect(2), and protection keys as on a processor without them (pkeys(7)).
#include <sys/personality.h>

#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// READ_IMPLIES_EXEC, for what may be executed.
int ImpliedProtection(Task& task, GuestAddr addr, int prot) {
  if (!(task.personality.load() & READ_IMPLIES_EXEC) || !(prot & PROT_READ)) return prot;
  const auto vma = task.mm().Find(addr);
  return vma && (vma->max_prot & PROT_EXEC) ? prot | PROT_EXEC : prot;
}

Result<void> SysMprotect(Task& task, GuestAddr addr, uint64_t length, int prot) {
  prot = ImpliedProtection(task, addr, prot);
  return task.mm().Protect(task, task.thread(), addr, length, prot);
}
SYSCALL_ROW(mprotect, Lane::kFull, Support::kFull, SysMprotect, "");

Result<void> SysPkeyMprotect(Task& task, GuestAddr addr, uint64_t length, int prot, int key) {
  if (key != -1) return Err(EINVAL);  // no key was ever allocated
  return SysMprotect(task, addr, length, prot);
}
SYSCALL_ROW(pkey_mprotect, Lane::kFull, Support::kPartial, SysPkeyMprotect, "no keys: as mprotect");

Result<void> SysPkeyAlloc(Task&, uint64_t flags, uint64_t rights) {
  if (flags != 0 || (rights & ~uint64_t{3})) return Err(EINVAL);
  return Err(ENOSPC);
}
SYSCALL_ROW(pkey_alloc, Lane::kShort, Support::kUnsupported, SysPkeyAlloc, "ENOSPC, as without hardware support");

SYSCALL_UNSUPPORTED(pkey_free, EINVAL, "no key was ever allocated");

}  // namespace
}  // namespace sandbox::syscalls
