#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "base/mutex.h"
#include "sentry/fs/tmpfs/data.h"

namespace sandbox {
namespace {

std::atomic<int> memory_count{0};

std::atomic<HostMemory::Reopener> reopener{nullptr};

}  // namespace

Result<RefPtr<HostMemory>> HostMemory::Create(const char* name) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd.valid()) return LastErrno();
  memory_count.fetch_add(1, std::memory_order_relaxed);
  return MakeRef<HostMemory>(std::move(fd));
}

HostMemory::~HostMemory() { memory_count.fetch_sub(1, std::memory_order_relaxed); }

int HostMemory::count() { return memory_count.load(std::memory_order_relaxed); }

void HostMemory::SetReopener(Reopener function) { reopener.store(function); }

Result<BorrowedFd> HostMemory::ReadOnly() {
  const Reopener reopen = reopener.load();
  if (reopen == nullptr) return fd_.borrow();
  static Mutex mu{LockRank::kLeaf};  // rare: the first read-only mapping of a file
  MutexLock lock(mu);
  if (!read_only_.valid()) read_only_ = TRY(reopen(fd_.borrow()));
  return read_only_.borrow();
}

uint64_t HostMemory::AllocatedPages() const {
  struct stat st;
  if (fstat(fd_.get(), &st) != 0) return 0;
  return static_cast<uint64_t>(st.st_blocks) / (kPageSize / 512);
}

}  // namespace sandbox
