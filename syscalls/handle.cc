// name_to_handle_at(2), open_by_handle_at(2).
#include <fcntl.h>
#include <linux/capability.h>

#include <cstring>
#include <deque>

#include "base/mutex.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/anonymous.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/operations.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

struct HandleHeader {
  uint32_t bytes;
  int32_t type;
};

// What a handle holds. File systems number their inodes, and cannot be asked for one by number: so the latest files
// that got handles are kept in mind, and an older handle is stale.
struct Handle {
  uint64_t device, inode;
  friend bool operator==(const Handle&, const Handle&) = default;
};
constexpr int32_t kHandleType = 0x81;
constexpr uint32_t kMaxHandleBytes = 128;  // MAX_HANDLE_SZ

class HandleTable {
 public:
  static HandleTable& Get() {
    static auto& table = *new HandleTable;
    return table;
  }
  void Remember(const Handle& handle, const DentryRef& dentry) {
    MutexLock lock(mu_);
    std::erase_if(known_, [&](const Known& known) { return known.handle == handle || known.dentry.expired(); });
    if (known_.size() == kMost) known_.pop_front();
    known_.push_back({handle, dentry});
  }
  DentryRef Find(const Handle& handle) {
    MutexLock lock(mu_);
    for (const Known& known : known_) {
      if (known.handle == handle) return known.dentry.lock();
    }
    return nullptr;
  }

 private:
  static constexpr size_t kMost = 1024;
  struct Known {
    Handle handle;
    WeakRef<Dentry> dentry;
  };
  Mutex mu_{LockRank::kLeaf};
  std::deque<Known> known_ GUARDED_BY(mu_);
};

Result<void> SysNameToHandleAt(Task& task, Fd dirfd, GuestStr path, InOutPtr<HandleHeader> handle, GuestAddr mount_id,
                               int flags) {
  // AT_HANDLE_MNT_ID_UNIQUE, AT_HANDLE_FID; every handle of ours is good for both uses.
  constexpr int kUniqueMount = 0x1, kOnlyCompared = 0x200;
  if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | kUniqueMount | kOnlyCompared)) return Err(EINVAL);
  const Path found = TRY(WalkAtNoFollow(task, dirfd, path, flags));
  if (found.mount == nullptr) return Err(EOPNOTSUPP);
  HandleHeader header = TRY(handle.Read(task.memory()));
  if (header.bytes > kMaxHandleBytes) return Err(EINVAL);
  const bool fits = header.bytes >= sizeof(Handle);
  header = {sizeof(Handle), kHandleType};
  if (flags & kUniqueMount) {
    TRY(OutPtr<uint64_t>(mount_id).Write(task.memory(), found.mount->unique_id()));
  } else {
    TRY(OutPtr<int32_t>(mount_id).Write(task.memory(), static_cast<int32_t>(found.mount->id())));
  }
  if (!fits) {
    TRY(handle.Write(task.memory(), header));
    return Err(EOVERFLOW);
  }
  const InodeRef inode = found.inode();
  const Handle made{inode->device(), TRY(inode->GetAttr(task)).ino};
  HandleTable::Get().Remember(made, found.dentry);
  TRY(handle.Write(task.memory(), header));
  return OutPtr<Handle>(TRY(handle.addr().Add(sizeof(header)))).Write(task.memory(), made);
}
SYSCALL_ROW(name_to_handle_at, Lane::kShort, Support::kPartial, SysNameToHandleAt,
            "a handle is good while its file is in the cache; no AT_HANDLE_CONNECTABLE");

Result<Fd> SysOpenByHandleAt(Task& task, Fd mount_fd, InPtr<HandleHeader> handle, int flags) {
  if (!task.creds().Has(CAP_DAC_READ_SEARCH)) return Err(EPERM);
  const Path base = mount_fd == AtCwd() ? task.fs().cwd() : PathOfFile(TRY(task.fds().GetAny(mount_fd)));
  const HandleHeader header = TRY(handle.Read(task.memory()));
  if (header.bytes == 0 || header.bytes > kMaxHandleBytes) return Err(EINVAL);
  if (header.type != kHandleType || header.bytes < sizeof(Handle)) return Err(ESTALE);
  const Handle given = TRY(InPtr<Handle>(TRY(handle.addr().Add(sizeof(header)))).Read(task.memory()));
  const DentryRef dentry = HandleTable::Get().Find(given);
  if (dentry == nullptr || dentry->IsDeleted() || base.mount == nullptr) return Err(ESTALE);
  if (dentry->inode()->device() != base.inode()->device()) return Err(ESTALE);
  const FileRef file = TRY(OpenPath(task, {base.mount, dentry}, flags));
  return task.fds().Install(task, file, (flags & O_CLOEXEC) != 0);
}
SYSCALL_ROW(open_by_handle_at, Lane::kMayBlock, Support::kPartial, SysOpenByHandleAt, "as name_to_handle_at");

}  // namespace
}  // namespace sandbox::syscalls
