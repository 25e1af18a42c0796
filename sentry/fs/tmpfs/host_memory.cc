#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "base/mutex.h"
#include "sentry/fs/tmpfs/data.h"

namespace sandbox {
namespace {

std::atomic<int> memory_count{0};

// /proc/self/fd, kept open: afterwards the process has no path to it.
BorrowedFd ReopenDirectory() {
  static const UniqueFd& directory = *new UniqueFd(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  return directory.borrow();
}

}  // namespace

Result<RefPtr<HostMemory>> HostMemory::Create(const char* name) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd.valid()) return LastErrno();
  memory_count.fetch_add(1, std::memory_order_relaxed);
  return MakeRef<HostMemory>(std::move(fd));
}

HostMemory::~HostMemory() { memory_count.fetch_sub(1, std::memory_order_relaxed); }

int HostMemory::count() { return memory_count.load(std::memory_order_relaxed); }

void HostMemory::PrepareReopen() { (void)ReopenDirectory(); }

Result<BorrowedFd> HostMemory::ReadOnly() {
  static Mutex mu{LockRank::kLeaf};  // rare: the first read-only mapping of a file
  MutexLock lock(mu);
  if (read_only_.valid()) return read_only_.borrow();
  char number[16];
  std::snprintf(number, sizeof(number), "%d", fd_.get());
  UniqueFd fd(openat(ReopenDirectory().get(), number, O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Err(EACCES);
  read_only_ = std::move(fd);
  return read_only_.borrow();
}

uint64_t HostMemory::AllocatedPages() const {
  struct stat st;
  if (fstat(fd_.get(), &st) != 0) return 0;
  return static_cast<uint64_t>(st.st_blocks) / (kPageSize / 512);
}

}  // namespace sandbox
