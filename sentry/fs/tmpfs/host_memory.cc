#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "base/host_sys.h"
#include "base/mutex.h"
#include "sentry/fs/tmpfs/data.h"

namespace sandbox {
namespace {

std::atomic<int> memory_count{0};

struct Reopening {
  Mutex mu{LockRank::kLeaf};
  HostMemory::Reopener function GUARDED_BY(mu);
};
Reopening& TheReopening() {
  static auto& reopening = *new Reopening;
  return reopening;
}

}  // namespace

Result<RefPtr<HostMemory>> HostMemory::Create(const char* name) {
  UniqueFd fd = TRY(host::MemoryFile(name, MFD_ALLOW_SEALING));
  memory_count.fetch_add(1, std::memory_order_relaxed);
  return MakeRef<HostMemory>(std::move(fd));
}

HostMemory::~HostMemory() { memory_count.fetch_sub(1, std::memory_order_relaxed); }

int HostMemory::count() { return memory_count.load(std::memory_order_relaxed); }

void HostMemory::SetReopener(Reopener function) {
  Reopening& reopening = TheReopening();
  MutexLock lock(reopening.mu);
  reopening.function = std::move(function);
}

Result<BorrowedFd> HostMemory::ReadOnly() {
  {
    MutexLock lock(mu_);
    if (read_only_.valid()) return read_only_.borrow();
  }
  Reopener reopen;
  {
    Reopening& reopening = TheReopening();
    MutexLock lock(reopening.mu);
    reopen = reopening.function;
  }
  if (!reopen) return Err(EACCES);
  UniqueFd opened = TRY(reopen(fd_.borrow()));  // a round trip: no lock is held
  MutexLock lock(mu_);
  if (!read_only_.valid()) read_only_ = std::move(opened);
  return read_only_.borrow();
}

uint64_t HostMemory::AllocatedPages() const {
  const auto st = host::Stat(fd_.borrow());
  return st.ok() ? static_cast<uint64_t>(st->st_blocks) / (kPageSize / 512) : 0;
}

}  // namespace sandbox
