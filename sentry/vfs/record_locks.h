// File locks of one inode (Linux: struct file_lock_context): byte-range locks of fcntl(2), owned by a process
// (F_SETLK) or an open file description (F_OFD_SETLK), and whole-file locks of flock(2). The two families do not see
// each other.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "sentry/core/context.h"

namespace sandbox {

enum class LockType : uint8_t { kShared, kExclusive };

// Half-open [start, end); end == kLockToEof means "to the end, however far".
inline constexpr int64_t kLockToEof = INT64_MAX;

struct RangeLock {
  LockType type = LockType::kShared;
  int64_t start = 0;
  int64_t end = kLockToEof;
  // FdTable* for process locks (Linux uses files_struct the same way), FileDescription* for OFD locks.
  const void* owner = nullptr;
  int32_t pid = 0;  // for F_GETLK; -1 for OFD locks
};

// For /proc/locks and F_GETLK.
struct HeldLock {
  RangeLock lock;
  bool whole_file = false;  // flock(2)
};

class RecordLocks {
 public:
  // fcntl. Takes or converts; EAGAIN when it conflicts and `wait` is false, EDEADLK when waiting would close a
  // cycle of process locks, kErestartsys when interrupted.
  Result<void> Set(Context& context, const RangeLock& lock, bool wait);
  // Releases `owner`'s locks in [start, end), splitting what overlaps.
  void Clear(const void* owner, int64_t start, int64_t end);
  // The first lock that conflicts with `wanted`, or nothing.
  std::optional<RangeLock> Conflicting(const RangeLock& wanted) const;

  // flock. `description` is the FileDescription. EWOULDBLOCK (EAGAIN) without `wait`.
  Result<void> Flock(Context& context, const void* description, LockType type, bool wait, int32_t pid);
  void Unflock(const void* description);

  // A process closed a descriptor of the file: its record locks go (POSIX).
  void ReleaseOwner(const void* fd_table) { Clear(fd_table, 0, kLockToEof); }
  // The last reference to a description went: its OFD and flock locks go.
  void ReleaseDescription(const void* description);

  std::vector<HeldLock> List() const;

 private:
  struct WholeLock {
    const void* description;
    LockType type;
    int32_t pid;
  };
  const RangeLock* FindConflict(const RangeLock& wanted) const REQUIRES(mu_);
  Result<void> TrySet(const RangeLock& lock, const void** blocker);
  Result<void> TryFlock(const void* description, LockType type, int32_t pid);
  void InsertRange(const RangeLock& lock) REQUIRES(mu_);
  void ClearRange(const void* owner, int64_t start, int64_t end) REQUIRES(mu_);

  mutable Mutex mu_{LockRank::kFileLocks};
  std::list<RangeLock> ranges_ GUARDED_BY(mu_);
  std::vector<WholeLock> whole_ GUARDED_BY(mu_);
  WaitQueue queue_;  // kEventIn after any release
};

}  // namespace sandbox
