// What an address space may grow to: RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, the number of mappings, and the obvious
// part of overcommit (Linux: may_expand_vm, mlock_future_ok, __vm_enough_memory with OVERCOMMIT_GUESS).
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "sentry/mm/memory_manager.h"

namespace sandbox {
namespace {

// Bytes of RAM and swap of the host. Read at start-up: the sentry's filter need not allow sysinfo later.
const uint64_t host_memory = [] {
  struct sysinfo info = {};
  if (sysinfo(&info) != 0) return ~uint64_t{0};
  return (uint64_t{info.totalram} + info.totalswap) * info.mem_unit;
}();

}  // namespace

Result<void> MemoryManager::CheckExpand(Context& context, const Vma& added, uint64_t replaced) const {
  const uint64_t length = added.range.length();
  const uint64_t growth = length > replaced ? length - replaced : 0;
  if (TotalBytes() + growth > context.rlimit(RLIMIT_AS)) return Err(ENOMEM);
  if (!added.is_data()) return {};
  if (vmas_.totals().data + growth > context.rlimit(RLIMIT_DATA)) return Err(ENOMEM);
  // The host would refuse this op too; asking here keeps the guest's list and the host's in step.
  if (!added.no_reserve && length > host_memory) return Err(ENOMEM);
  return {};
}

uint32_t MemoryManager::InheritedMdwe() const {
  constexpr uint32_t kNoInherit = 2;  // PR_MDWE_NO_INHERIT
  const uint32_t flags = mdwe();
  return flags & kNoInherit ? 0 : flags;
}

Result<void> MemoryManager::CheckLock(Context& context, uint64_t added_bytes, int err) const {
  if (context.creds().Has(CAP_IPC_LOCK)) return {};
  const uint64_t limit = context.rlimit(RLIMIT_MEMLOCK);
  if (limit == 0) return Err(EPERM);
  if (vmas_.totals().locked + added_bytes > limit) return Err(err);
  return {};
}

Result<void> MemoryManager::CheckMapCount(size_t added) const {
  if (vmas_.count() + added > kMaxMappings) return Err(ENOMEM);
  return {};
}

Result<void> MemoryManager::CheckUnsealed(GuestRange range) const {
  bool sealed = false;
  vmas_.ForEach(range, [&](const Vma& vma) {
    sealed = vma.sealed;
    return !sealed;
  });
  if (sealed) return Err(EPERM);
  return {};
}

}  // namespace sandbox
