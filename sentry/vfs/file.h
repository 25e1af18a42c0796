// FileDescription: an open file (Linux: struct file). Shared by descriptors that were dup'ed or
// inherited.
//
// Implementations never block: a transfer that cannot proceed returns EAGAIN, and the generic layer
// (vfs/io.h) waits on wait_queue() unless O_NONBLOCK is set. So blocking, EINTR and restart are
// written once.
#pragma once

#include <fcntl.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/core/context.h"
#include "sentry/vfs/attr.h"
#include "sentry/vfs/path.h"

namespace sandbox {

class AsyncIo;
class Mappable;
class FileDescription;
class RecordLocks;
using FileRef = RefPtr<FileDescription>;

// Receives directory entries of getdents. Returns false when the buffer is full: that entry was not
// taken.
class DirSink {
 public:
  virtual ~DirSink() = default;
  // `next_offset` is the position to continue from after this entry; `type` is DT_*.
  virtual bool Emit(std::string_view name, uint64_t ino, uint8_t type, int64_t next_offset) = 0;
};

class FileDescription : public RefFromThis<FileDescription> {
 public:
  // `path` may be empty (pipes, sockets, anonymous files); `flags` are open(2)'s; creation flags
  // are dropped.
  FileDescription(Path path, int flags);
  virtual ~FileDescription();
  FileDescription(const FileDescription&) = delete;

  const Path& path() const { return path_; }
  // Access mode and status flags: O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECT | O_SYNC | O_NOATIME
  // | O_PATH | O_ASYNC…
  int flags() const { return flags_.load(std::memory_order_relaxed); }
  bool readable() const {
    const int m = flags() & O_ACCMODE;
    return !(flags() & O_PATH) && (m == O_RDONLY || m == O_RDWR);
  }
  bool writable() const {
    const int m = flags() & O_ACCMODE;
    return !(flags() & O_PATH) && (m == O_WRONLY || m == O_RDWR);
  }
  bool nonblocking() const { return flags() & O_NONBLOCK; }
  bool is_path_only() const { return flags() & O_PATH; }
  // F_SETFL: O_APPEND, O_NONBLOCK, O_ASYNC, O_DIRECT, O_NOATIME. Implementations may refuse (EINVAL
  // for O_DIRECT).
  virtual Result<void> SetFlags(Context& context, int flags);

  // --- Data. `offset` is where to transfer; streams ignore it (see seekable()). On success it has
  // been advanced. --- `rwf`: RWF_* of preadv2(2). Returns 0 at end of file. Defaults EINVAL.
  virtual Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf);
  // O_APPEND is honoured by the implementation (atomic with the size), RLIMIT_FSIZE by
  // CheckFileSize in vfs/io.h.
  virtual Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf);
  // True for byte streams (pipes, ttys, stream sockets): a blocking write goes on until everything
  // is taken.
  virtual bool writes_all() const { return false; }
  // SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds; 0 = wait for ever. EAGAIN when it passes.
  virtual int64_t TransferTimeoutNs(bool /*write*/) const { return 0; }
  // False for pipes, sockets, ttys: lseek and pread give ESPIPE.
  virtual bool seekable() const { return false; }
  // SEEK_END, SEEK_DATA, SEEK_HOLE need the size; SEEK_SET/CUR are generic. Returns the new
  // position. Default ESPIPE.
  virtual Result<int64_t> Seek(Context& context, int64_t offset, int whence);
  virtual Result<void> Sync(Context& context, bool data_only);  // default EINVAL
  virtual Result<void> Allocate(Context& context, int mode, int64_t offset,
                                int64_t length);                               // fallocate; EOPNOTSUPP
  virtual Result<void> Advise(Context&, int64_t, int64_t, int) { return {}; }  // posix_fadvise

  // --- Directories. Emits entries from *position (0 = start; "." and ".." included) until the sink
  // is full. ---
  virtual Result<void> ReadDir(Context& context, DirSink& sink,
                               int64_t* position);  // default ENOTDIR

  // --- Readiness. Level-triggered state now; wait_queue() is null for files that are always ready.
  // ---
  virtual EventMask Readiness(Context& context, EventMask interest);
  virtual WaitQueue* wait_queue() { return nullptr; }
  virtual bool pollable() { return wait_queue() != nullptr; }  // false: epoll_ctl gives EPERM

  // --- The rest. ---
  virtual Result<int64_t> Ioctl(Context& context, uint32_t request,
                                uint64_t argument);                // default ENOTTY
  virtual Result<RefPtr<Mappable>> GetMappable(Context& context);  // default ENODEV
  // fstat on descriptors; default: the inode's. Anonymous files override.
  virtual Result<Attr> GetAttr(Context& context);
  virtual Result<void> SetAttr(Context& context, const AttrChange& change);
  // Called on every close(2) of a descriptor that refers to it (Linux: ->flush), and when the last
  // one goes
  // (->release is the destructor).
  virtual Result<void> OnClose(Context&) { return {}; }
  // Extra lines of /proc/self/fdinfo/N, for example "eventfd-count: …\n".
  virtual std::string FdInfo(Context&) { return {}; }
  // What /proc/self/fd/N reads when path() is empty: "pipe:[12]", "socket:[7]",
  // "anon_inode:[eventpoll]".
  virtual std::string AnonymousName() const { return "anon_inode:[unknown]"; }
  // Opens the same object again through /proc/self/fd/N when path() is empty (pipes). Default
  // ENXIO.
  virtual Result<FileRef> Reopen(Context&, int /*flags*/) { return Err(ENXIO); }
  // The host descriptor behind a donated regular file, for zero-copy transfers between two of them;
  // invalid if none.
  virtual BorrowedFd HostFd() const { return {}; }

  // File position. Its lock is held across a whole transfer, guest copies included, so that concurrent reads of one
  // description do not overlap (Linux: f_pos_lock); it can delay only those who share the description.
  Mutex& position_mutex() ABSL_LOCK_RETURNED(position_mu_) { return position_mu_; }
  int64_t& position() REQUIRES(position_mu_) { return position_; }

  // For the VFS: this description counts as a writer of its inode and mount, as a reader, or (exec)
  // keeps writers out, until it is destroyed. ETXTBSY when the other side is there; nothing is held
  // then.
  Result<void> HoldWriteAccess();
  void HoldReadAccess();
  Result<void> DenyWriteAccess();

  // open(2) made the file (F_CREATED_QUERY).
  bool created() const { return created_; }
  void set_created() { created_ = true; }  // while opening

  // Owner and signal of SIGIO, made on demand.
  AsyncIo& async();
  AsyncIo* async_or_null() const { return async_.load(std::memory_order_acquire); }
  // The file's locks: its inode's, or its own when it has none (pipes, sockets).
  RecordLocks& locks();

 protected:
  void set_flags(int flags) { flags_.store(flags, std::memory_order_relaxed); }

 private:
  const Path path_;
  std::atomic<int> flags_;
  enum class Hold : uint8_t { kNone, kReader, kWriter, kDenyWrite };
  Hold hold_ = Hold::kNone;  // set while opening, before the description is shared
  bool created_ = false;
  std::atomic<AsyncIo*> async_{nullptr};
  std::atomic<RecordLocks*> own_locks_{nullptr};
  Mutex position_mu_{LockRank::kFilePosition};
  int64_t position_ GUARDED_BY(position_mu_) = 0;
};

}  // namespace sandbox
