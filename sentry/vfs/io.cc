#include "sentry/vfs/io.h"

#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/operations.h"

namespace sandbox {
namespace {

// Repeats `attempt` while it says EAGAIN, unless the file or the call is non-blocking.
template <typename Attempt>
Result<size_t> Transfer(Context& context, FileDescription& file, bool write, int rwf, Attempt attempt) {
  auto result = attempt();
  if (!result.Is(EAGAIN) || file.nonblocking() || (rwf & RWF_NOWAIT)) return result;
  WaitQueue* queue = file.wait_queue();
  if (queue == nullptr) return result;
  Deadline deadline;
  const int64_t timeout = file.TransferTimeoutNs(write);
  if (timeout > 0) deadline = MonotonicTime{MonotonicNow().ns + timeout};
  result = BlockUntil(context, *queue, (write ? kWritable : kReadable) | kEventRdHup | kEventErr | kEventHup, deadline,
                      attempt);
  if (timeout > 0) {
    // signal(7): socket calls with a timeout are not restarted.
    if (result.Is(ETIMEDOUT)) return Err(EAGAIN);
    if (result.Is(kErestartsys)) return Err(EINTR);
  }
  return result;
}

Result<size_t> ReadOnce(Context& context, FileDescription& file, IoSequence& to, int64_t* offset, int rwf) {
  auto result = Transfer(context, file, false, rwf, [&] { return file.Read(context, to, offset, rwf); });
  if (result.ok() && *result > 0) NotifyPath(file.path(), IN_ACCESS);
  return result;
}

// Linux: file_remove_privs. Root keeps the bits, so it pays nothing.
Result<void> DropSetId(Context& context, FileDescription& file) {
  if (context.creds().Has(CAP_FSETID) || file.path().empty()) return {};
  const Attr attr = TRY(file.GetAttr(context));
  if (const auto mode = ModeAfterWrite(context.creds(), attr)) {
    AttrChange change;
    change.mode = mode;
    return file.SetAttr(context, change);
  }
  return {};
}

Result<size_t> WriteAll(Context& context, FileDescription& file, IoSequence& from, int64_t* offset, int rwf) {
  if (file.seekable() && !from.empty()) TRY(DropSetId(context, file));
  size_t total = 0;
  do {
    auto result = Transfer(context, file, true, rwf, [&] { return file.Write(context, from, offset, rwf); });
    if (!result.ok()) {
      if (total == 0) return result;
      break;
    }
    total += *result;
    if (*result == 0) break;
  } while (!from.empty() && file.writes_all() && !file.nonblocking());
  if (total > 0) NotifyPath(file.path(), IN_MODIFY);
  return total;
}

}  // namespace

Result<size_t> ReadFile(Context& context, FileDescription& file, IoSequence& to, int rwf) {
  if (!file.readable()) return Err(EBADF);
  if (!file.seekable()) {
    int64_t none = 0;
    return ReadOnce(context, file, to, &none, rwf);
  }
  MutexLock lock(file.position_mutex());
  return ReadOnce(context, file, to, &file.position(), rwf);
}

Result<size_t> WriteFile(Context& context, FileDescription& file, IoSequence& from, int rwf) {
  if (!file.writable()) return Err(EBADF);
  if (!file.seekable()) {
    int64_t none = 0;
    return WriteAll(context, file, from, &none, rwf);
  }
  MutexLock lock(file.position_mutex());
  return WriteAll(context, file, from, &file.position(), rwf);
}

Result<size_t> ReadFileAt(Context& context, FileDescription& file, IoSequence& to, int64_t offset, int rwf) {
  if (!file.seekable()) return Err(ESPIPE);
  if (!file.readable()) return Err(EBADF);
  return ReadOnce(context, file, to, &offset, rwf);
}

Result<size_t> WriteFileAt(Context& context, FileDescription& file, IoSequence& from, int64_t offset, int rwf) {
  if (!file.seekable()) return Err(ESPIPE);
  if (!file.writable()) return Err(EBADF);
  return WriteAll(context, file, from, &offset, rwf);
}

Result<int64_t> SeekFile(Context& context, FileDescription& file, int64_t offset, int whence) {
  const InodeRef inode = file.path().inode();
  const bool directory = inode != nullptr && inode->IsDir(context);
  if (!file.seekable() && !directory) return Err(ESPIPE);
  MutexLock lock(file.position_mutex());
  int64_t target = offset;
  switch (whence) {
    case SEEK_SET:
      break;
    case SEEK_CUR:
      if (__builtin_add_overflow(file.position(), offset, &target)) return Err(EOVERFLOW);
      break;
    case SEEK_END:
    case SEEK_DATA:
    case SEEK_HOLE:
      target = TRY(file.Seek(context, offset, whence));
      break;
    default:
      return Err(EINVAL);
  }
  if (target < 0) return Err(EINVAL);
  file.position() = target;
  return target;
}

Result<void> ReadDirectory(Context& context, FileDescription& file, DirSink& sink) {
  const InodeRef inode = file.path().inode();
  if (inode == nullptr || !inode->IsDir(context)) return Err(ENOTDIR);
  if (file.path().dentry->IsDeleted()) return Err(ENOENT);
  MutexLock lock(file.position_mutex());
  TRY(file.ReadDir(context, sink, &file.position()));
  NotifyPath(file.path(), IN_ACCESS);
  return {};
}

Result<size_t> CheckFileSize(Context& context, int64_t offset, size_t count) {
  const uint64_t limit = context.rlimit(RLIMIT_FSIZE);
  const auto at = static_cast<uint64_t>(offset);
  if (limit != RLIM_INFINITY) {
    if (at >= limit) {
      context.RaiseSignal(SIGXFSZ);
      return Err(EFBIG);
    }
    count = std::min<uint64_t>(count, limit - at);
  }
  if (at >= static_cast<uint64_t>(INT64_MAX)) return Err(EFBIG);
  return std::min<uint64_t>(count, static_cast<uint64_t>(INT64_MAX) - at);
}

bool WantsAccessTime(const FileDescription& file, const Attr& attr, const FileTime& now) {
  if (file.flags() & O_NOATIME) return false;
  if (file.path().mount == nullptr) return true;
  const MountFlags flags = file.path().mount->flags();
  if (flags & (MS_NOATIME | MS_RDONLY)) return false;
  if ((flags & MS_NODIRATIME) && attr.IsDir()) return false;
  if (flags & MS_STRICTATIME) return true;
  // relatime is the default: at most once a day unless the file changed since.
  constexpr int64_t kDay = 24 * 3600;
  return attr.atime <= attr.mtime || attr.atime <= attr.ctime || now.seconds - attr.atime.seconds >= kDay;
}

}  // namespace sandbox
