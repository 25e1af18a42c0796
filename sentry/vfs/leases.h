// Leases of one inode (fcntl(2): F_SETLEASE): the holder is told, and given time, before somebody
// opens the file in a way that conflicts (Linux: fs/locks.c).
#pragma once

#include <fcntl.h>

#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/context.h"

namespace sandbox {

class FileDescription;
class Inode;
using FileRef = RefPtr<FileDescription>;

class Leases {
 public:
  static constexpr int64_t kBreakTimeNs = 45'000'000'000;  // /proc/sys/fs/lease-break-time

  // F_SETLEASE on `file`, open as `fd`: `type` is F_RDLCK, F_WRLCK or F_UNLCK. EAGAIN when the file
  // is open otherwise, or there is none to give up.
  Result<void> Set(const Inode& inode, const FileRef& file, int fd, int type);
  // F_GETLEASE: what `file` holds, or will hold once it has answered a break.
  int Get(const FileDescription& file) const;
  // Before an open or truncation of the inode: signals the holders of conflicting leases and waits
  // until they gave them up or their time is over. EWOULDBLOCK when that is not wanted,
  // kErestartsys.
  Result<void> Break(Context& context, bool write, bool wait);
  // The description is going.
  void Release(const FileDescription* file);

 private:
  struct Lease {
    const FileDescription* key;
    WeakRef<FileDescription> file;
    int fd;
    int type;              // F_RDLCK or F_WRLCK
    int breaking_to = -1;  // F_UNLCK or F_RDLCK while a break is under way
    MonotonicTime break_end;
  };
  // Ok when nothing conflicts any more, else EAGAIN and the earliest end in *until.
  Result<void> TryBreak(bool write, Deadline* until);
  void Expire() REQUIRES(mu_);

  mutable Mutex mu_{LockRank::kFileLocks};
  std::vector<Lease> leases_ GUARDED_BY(mu_);
  WaitQueue queue_;  // kReadable when a lease goes or changes
};

}  // namespace sandbox
