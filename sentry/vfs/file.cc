#include "sentry/vfs/file.h"

#include <sys/inotify.h>

#include "sentry/vfs/async_io.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/leases.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/on_demand.h"
#include "sentry/vfs/record_locks.h"

namespace sandbox {
namespace {

constexpr int kCreationFlags = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;
constexpr int kSettableFlags = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;

}  // namespace

FileDescription::FileDescription(Path path, int flags) : path_(std::move(path)), flags_(flags & ~kCreationFlags) {}

FileDescription::~FileDescription() {
  delete async_.load(std::memory_order_relaxed);
  delete own_locks_.load(std::memory_order_relaxed);
  if (path_.empty()) return;
  const InodeRef& inode = path_.dentry->inode();
  if (inode == nullptr) return;
  if (RecordLocks* locks = inode->locks_or_null()) locks->ReleaseDescription(this);
  if (Leases* leases = inode->leases_or_null()) leases->Release(this);
  if (!is_path_only()) NotifyPath(path_, writable() ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
  if (hold_ == Hold::kWriter) {
    inode->ReleaseWrite();
    if (path_.mount != nullptr) path_.mount->RemoveWriter();
  } else if (hold_ == Hold::kReader) {
    inode->RemoveReader();
  } else if (hold_ == Hold::kDenyWrite) {
    inode->AllowWrite();
  }
}

AsyncIo& FileDescription::async() { return OnDemand(async_); }

RecordLocks& FileDescription::locks() {
  if (const InodeRef inode = path_.inode()) return inode->locks();
  return OnDemand(own_locks_);
}

void FileDescription::HoldReadAccess() {
  path_.dentry->inode()->AddReader();
  hold_ = Hold::kReader;
}

Result<void> FileDescription::HoldWriteAccess() {
  TRY(path_.dentry->inode()->AcquireWrite());
  if (path_.mount != nullptr) path_.mount->AddWriter();
  hold_ = Hold::kWriter;
  return {};
}

Result<void> FileDescription::DenyWriteAccess() {
  TRY(path_.dentry->inode()->DenyWrite());
  hold_ = Hold::kDenyWrite;
  return {};
}

Result<void> FileDescription::SetFlags(Context&, int flags) {
  int old = flags_.load(std::memory_order_relaxed);
  while (!flags_.compare_exchange_weak(old, (old & ~kSettableFlags) | (flags & kSettableFlags))) {
  }
  return {};
}

Result<size_t> FileDescription::Read(Context& context, IoSequence&, int64_t*, int) {
  const InodeRef inode = path_.inode();
  return Err(inode != nullptr && inode->IsDir(context) ? EISDIR : EINVAL);
}
Result<size_t> FileDescription::Write(Context&, IoSequence&, int64_t*, int) { return Err(EINVAL); }
Result<int64_t> FileDescription::Seek(Context&, int64_t, int) { return Err(seekable() ? EINVAL : ESPIPE); }
Result<void> FileDescription::Sync(Context&, bool) { return Err(EINVAL); }
Result<void> FileDescription::Allocate(Context&, int, int64_t, int64_t) { return Err(EOPNOTSUPP); }
Result<void> FileDescription::ReadDir(Context&, DirSink&, int64_t*) { return Err(ENOTDIR); }

EventMask FileDescription::Readiness(Context&, EventMask interest) { return interest & (kReadable | kWritable); }

Result<int64_t> FileDescription::Ioctl(Context&, uint32_t, uint64_t) { return Err(ENOTTY); }
Result<RefPtr<Mappable>> FileDescription::GetMappable(Context&) { return Err(ENODEV); }

Result<Attr> FileDescription::GetAttr(Context& context) {
  if (const InodeRef inode = path_.inode()) return inode->GetAttr(context);
  return Err(EBADF);
}

Result<void> FileDescription::SetAttr(Context& context, const AttrChange& change) {
  if (const InodeRef inode = path_.inode()) return inode->SetAttr(context, change);
  return Err(EPERM);
}

}  // namespace sandbox
