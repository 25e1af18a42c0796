// The vDSO: code of ours that every guest has mapped, for clocks that are read without a system call (vdso(7)).
#pragma once

#include "base/guest_addr.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/core/context.h"
#include "sentry/mm/memory_manager.h"

namespace sandbox::loader {

// Makes the pages. Before the sentry confines itself: sealing memory files and asking for the host's clock source are
// not for later. Without it the first exec does.
void PrepareVdso();

// Queues the mappings of the vDSO. Returns its address for AT_SYSINFO_EHDR; null when there is none.
Result<GuestAddr> MapVdso(Context& context, MemoryManager& mm, platform::Thread& thread);

}  // namespace sandbox::loader
