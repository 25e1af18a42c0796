// cachestat(2): since Linux 6.5 (Linux: mm/filemap.c).
#include <unistd.h>

#include "sentry/kernel/task.h"
#include "syscalls/newer_calls.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

struct CachestatRange {
  uint64_t offset, length;
};
struct Cachestat {
  uint64_t cached, dirty, writeback, evicted, recently_evicted;  // pages
};

// The host has the page cache of what it backs, and tells of files what their owner may know.
Result<Cachestat> AskHost(Task& task, FileDescription& file, CachestatRange range) {
  Cachestat answer = {};
  const auto mappable = file.GetMappable(task);
  if (!mappable.ok()) return answer;  // nothing that has pages
  const auto backing = TRY((*mappable)->Back(task, 0, kPageSize, {PROT_READ, PROT_READ, true}));
  if (!backing.fd.valid()) return answer;
  range.offset += backing.offset_delta;
  if (::syscall(__NR_cachestat, backing.fd.get(), &range, &answer, 0) != 0) return LastErrno();
  return answer;
}

Result<void> SysCachestat(Task& task, Fd fd, InPtr<CachestatRange> range, OutPtr<Cachestat> out, uint32_t flags) {
  const FileRef file = TRY(task.fds().Get(fd));
  const CachestatRange wanted = TRY(range.Read(task.memory()));
  if (flags != 0) return Err(EINVAL);
  return out.Write(task.memory(), TRY(AskHost(task, *file, wanted)));
}
SYSCALL_ROW(cachestat, Lane::kShort, Support::kPartial, SysCachestat,
            "EPERM for files of the host that are not its own");

}  // namespace
}  // namespace sandbox::syscalls
