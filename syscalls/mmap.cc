// mmap(2), munmap(2), remap_file_pages(2).
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>

#include "sentry/fs/tmpfs/shared_memory.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

namespace sandbox::syscalls {
namespace {

// What MAP_SHARED silently accepts (Linux: LEGACY_MAP_MASK).
constexpr int kLegacyFlags = MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE |
                             MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK |
                             MAP_HUGETLB | MAP_32BIT | MAP_FIXED_NOREPLACE;

bool NoExecMount(const FileDescription& file) {
  return file.path().mount != nullptr && (file.path().mount->flags() & MS_NOEXEC);
}

// The object and the rights on it, in the order of Linux's do_mmap.
Result<void> PrepareFile(Task& task, FileDescription& file, MapRequest& request) {
  const bool shared = (request.flags & MAP_TYPE) != MAP_PRIVATE;
  if ((request.flags & MAP_TYPE) == MAP_SHARED_VALIDATE && (request.flags & ~(kLegacyFlags | MAP_SHARED_VALIDATE))) {
    return Err(EOPNOTSUPP);
  }
  if (shared && (request.prot & PROT_WRITE) && !file.writable()) return Err(EACCES);
  if (!file.readable()) return Err(EACCES);
  if (NoExecMount(file)) {
    if (request.prot & PROT_EXEC) return Err(EPERM);
    request.max_prot &= ~PROT_EXEC;
  }
  if (shared && !file.writable()) request.max_prot &= ~PROT_WRITE;
  request.mappable = TRY(file.GetMappable(task));
  if (request.flags & MAP_GROWSDOWN) return Err(EINVAL);
  return {};
}

Result<void> PrepareAnonymous(MapRequest& request) {
  request.offset = 0;
  switch (request.flags & MAP_TYPE) {
    case MAP_DROPPABLE:
      if (request.flags & (MAP_GROWSDOWN | MAP_LOCKED)) return Err(EINVAL);
      request.flags = (request.flags & ~MAP_TYPE) | MAP_PRIVATE | MAP_NORESERVE;
      return {};
    case MAP_PRIVATE:
      return {};
    case MAP_SHARED:
      if (request.flags & MAP_GROWSDOWN) return Err(EINVAL);
      request.mappable = TRY(MakeSharedMemory(TRY(PageRoundUp(request.length))));
      return {};
    default:
      return Err(EINVAL);
  }
}

Result<GuestAddr> SysMmap(Task& task, GuestAddr addr, uint64_t length, int prot, int flags, Fd fd, uint64_t offset) {
  if (offset & kPageMask) return Err(EINVAL);
  FileRef file;
  if (!(flags & MAP_ANONYMOUS)) {
    file = TRY(task.fds().Get(fd));
    if (flags & MAP_HUGETLB) return Err(EINVAL);
  } else if (flags & MAP_HUGETLB) {
    return Err(ENOMEM);  // the pool of huge pages is empty
  }
  if (length == 0) return Err(EINVAL);
  const int type = flags & MAP_TYPE;
  const bool droppable = type == MAP_DROPPABLE && file == nullptr;
  if (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE && !droppable) return Err(EINVAL);
  if (length > task.mm().range().length()) return Err(ENOMEM);

  const bool may_execute = file == nullptr || !NoExecMount(*file);
  if ((prot & PROT_READ) && (task.personality.load() & READ_IMPLIES_EXEC) && may_execute) prot |= PROT_EXEC;
  MapRequest request{.hint = addr, .length = length, .prot = prot, .flags = flags, .offset = offset};
  if (file != nullptr) {
    TRY(PrepareFile(task, *file, request));
  } else {
    TRY(PrepareAnonymous(request));
  }
  const GuestAddr start = TRY(task.mm().Map(task, task.thread(), request));
  if (droppable) {
    // Neither inherited nor dumped; that it is never dropped is the host's good will.
    for (const int advice : {MADV_WIPEONFORK, MADV_DONTDUMP})
      TRY(task.mm().Advise(task, task.thread(), start, length, advice));
  }
  return start;
}
SYSCALL_ROW(mmap, Lane::kFull, Support::kPartial, SysMmap, "no huge page pool, no MAP_SYNC");

Result<void> SysMunmap(Task& task, GuestAddr addr, uint64_t length) {
  return task.mm().Unmap(task, task.thread(), addr, length);
}
SYSCALL_ROW(munmap, Lane::kFull, Support::kFull, SysMunmap, "");

// Since Linux 4.0 nothing but a shorter way to write mmap with MAP_FIXED.
Result<void> SysRemapFilePages(Task& task, GuestAddr addr, uint64_t size, int prot, uint64_t page_offset, int flags) {
  addr = addr.PageDown();
  size &= ~kPageMask;
  if (prot != 0 || size == 0) return Err(EINVAL);
  uint64_t offset;
  if (__builtin_mul_overflow(page_offset, kPageSize, &offset)) return Err(EINVAL);
  const auto vma = task.mm().Find(addr);
  if (!vma || !vma->shared || vma->mappable == nullptr) return Err(EINVAL);
  if (size > vma->range.end - addr) return Err(EINVAL);
  MapRequest request{.hint = addr, .length = size, .prot = vma->prot};
  request.flags = MAP_SHARED | MAP_FIXED | (flags & MAP_NONBLOCK);
  request.mappable = vma->mappable;
  request.offset = offset;
  request.max_prot = vma->max_prot;
  TRY(task.mm().Map(task, task.thread(), request));
  return {};
}
SYSCALL_ROW(remap_file_pages, Lane::kFull, Support::kPartial, SysRemapFilePages, "within one mapping");

}  // namespace
}  // namespace sandbox::syscalls
