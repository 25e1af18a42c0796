#include "sentry/fs/gofer/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/host_sys.h"
#include "sentry/mm/mappable.h"
#include "sentry/vfs/io.h"
#include "sentry/vfs/mount.h"

namespace sandbox {
namespace {

// Large enough that its system calls do not show in a long transfer, small enough to stay in the
// second-level cache.
constexpr size_t kTransferSize = 128 * 1024;
// Of one read that the guest's process makes by itself: bounds how long it does not answer.
constexpr size_t kDirectSize = 4 << 20;

char* TransferBuffer() {
  thread_local const auto buffer = std::make_unique_for_overwrite<char[]>(kTransferSize);
  return buffer.get();
}

// The host file itself, as mm sees it. Holds a descriptor with exactly the rights of the guest's.
class GoferMappable final : public Mappable {
 public:
  GoferMappable(GoferInodeRef inode, HostFileRef file, Identity identity)
      : inode_(std::move(inode)), file_(std::move(file)), identity_(std::move(identity)) {}

  Result<HostBacking> Back(Context&, uint64_t, uint64_t, const Use& use) override {
    if (file_->access == O_WRONLY) return Err(EACCES);
    if (use.writes() && file_->access != O_RDWR) return Err(EACCES);
    return HostBacking{.fd = file_->fd.borrow(), .keep_alive = file_, .versioned = !inode_->was_mapped_writable()};
  }
  void CountMapping(int delta, bool writable_shared) override {
    if (!writable_shared) return;
    inode_->CountWritableMapping(delta);
    inode_->MarkStale();
  }
  Identity MappingIdentity() const override { return identity_; }

 private:
  const GoferInodeRef inode_;
  const HostFileRef file_;
  const Identity identity_;
};

}  // namespace

GoferFile::GoferFile(const Path& path, int flags, GoferInodeRef inode, HostFileRef file)
    : FileDescription(path, flags), inode_(std::move(inode)), file_(std::move(file)), lost_(inode_->journal()) {
  inode_->OpenCount(1);
}

GoferFile::~GoferFile() { inode_->OpenCount(-1); }

Result<size_t> GoferFile::Read(Context&, IoSequence& to, int64_t* offset, int rwf) {
  // Times that were set may not come after those that the host gives a first reader.
  if (!read_noted_.load(std::memory_order_relaxed)) inode_->SettleAttributes();
  size_t total = 0;
  // The guest's process may have what the guest was given, and no more.
  const bool exact = rwf == 0 && file_->access == (flags() & O_ACCMODE);
  while (!to.empty()) {
    if (exact) {
      const size_t most = std::min(to.remaining(), kDirectSize);
      if (const auto got = to.ReadFile(most, file_->fd.borrow(), static_cast<uint64_t>(*offset))) {
        if (!got->ok() && total == 0) return got->error();
        if (!got->ok() || **got == 0) break;
        total += **got;
        *offset += static_cast<int64_t>(**got);
        continue;
      }
    }
    const size_t want = std::min(to.remaining(), kTransferSize);
    char* const room = to.Reserve(want);
    char* const buffer = room != nullptr ? room : TransferBuffer();
    const Result<size_t> got = host::ReadAt(file_->fd.borrow(), buffer, want, *offset);
    if (!got.ok()) {
      if (total > 0) break;
      return got.error();
    }
    if (*got == 0) break;
    auto copied = got;
    if (room != nullptr) {
      to.Commit(*got);
    } else {
      copied = to.CopyOut(buffer, *got);
    }
    if (!copied.ok()) {
      if (total > 0) break;
      return copied.error();
    }
    total += *copied;
    *offset += static_cast<int64_t>(*copied);
    if (*copied < *got || *got < want) break;
  }
  if (!(flags() & O_NOATIME) && !read_noted_.exchange(true, std::memory_order_relaxed)) inode_->NoteRead();
  return total;
}

Result<size_t> GoferFile::WriteChunk(const char* data, size_t size, int64_t* offset, int rwf) {
  const bool append = ((flags() & O_APPEND) && !(rwf & kRwfNoAppend)) || (rwf & RWF_APPEND);
  int host_flags = rwf & (RWF_DSYNC | RWF_SYNC);
  if (flags() & O_DSYNC) host_flags |= RWF_DSYNC;
  if ((flags() & O_SYNC) == O_SYNC) host_flags |= RWF_SYNC;
  if (append) {
    // RWF_APPEND makes the host choose the place; our lock keeps the position we report right among
    // ourselves.
    MutexLock lock(inode_->append_mutex());
    const size_t put = TRY(host::WriteAt(file_->fd.borrow(), data, size, 0, host_flags | RWF_APPEND));
    *offset = TRY(host::Seek(file_->fd.borrow(), 0, SEEK_END));
    return put;
  }
  const size_t put = TRY(host::WriteAt(file_->fd.borrow(), data, size, *offset, host_flags));
  *offset += static_cast<int64_t>(put);
  return put;
}

Result<size_t> GoferFile::Write(Context& context, IoSequence& from, int64_t* offset, int rwf) {
  inode_->SettleAttributes();
  inode_->NoteWrite();
  char* const buffer = TransferBuffer();
  size_t total = 0;
  while (!from.empty()) {
    const auto room = CheckFileSize(context, *offset, std::min(from.remaining(), kTransferSize));
    if (!room.ok()) {
      if (total > 0) break;
      return room.error();
    }
    const auto taken = from.CopyIn(buffer, *room);
    if (!taken.ok() || *taken == 0) {
      if (total > 0 || taken.ok()) break;
      return taken.error();
    }
    const auto put = WriteChunk(buffer, *taken, offset, rwf);
    if (!put.ok()) {
      if (total > 0) break;
      return put.error();
    }
    total += *put;
    inode_->MarkStale();
    if (*put < *taken) break;
  }
  return total;
}

Result<int64_t> GoferFile::Seek(Context& context, int64_t offset, int whence) {
  if (whence == SEEK_END) {
    const auto size = static_cast<int64_t>(TRY(inode_->GetAttr(context)).size);
    int64_t at;
    if (__builtin_add_overflow(size, offset, &at)) return Err(EOVERFLOW);
    if (at < 0) return Err(EINVAL);
    return at;
  }
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return Err(EINVAL);
  if (offset < 0) return Err(ENXIO);
  // Moves the descriptor's own position, which nothing uses.
  return host::Seek(file_->fd.borrow(), offset, whence);
}

// A file whose contents are safe has its name, too: the deferred changes come first.
Result<void> GoferFile::Sync(Context&, bool data_only) {
  inode_->StampUnwritten();
  inode_->tree().client().Settle();
  TRY(host::Sync(file_->fd.borrow(), data_only));
  return lost_.Check();
}

Result<void> GoferFile::Allocate(Context&, int mode, int64_t offset, int64_t length) {
  inode_->SettleAttributes();
  inode_->NoteWrite();
  TRY(host::Allocate(file_->fd.borrow(), mode, offset, length));
  inode_->MarkStale();
  return {};
}

Result<void> GoferFile::Advise(Context&, int64_t offset, int64_t length, int advice) {
  return host::Advise(file_->fd.borrow(), offset, length, advice);
}

Result<RefPtr<Mappable>> GoferFile::GetMappable(Context& context) {
  inode_->StampUnwritten();
  inode_->SettleAttributes();
  // The sentry's own descriptor may be wider than the guest's; what the stub gets must not be.
  HostFileRef exact = file_;
  const int access = flags() & O_ACCMODE;
  if (exact->access != access) exact = TRY(inode_->HostFileExact(access));
  const Attr attr = TRY(inode_->GetAttr(context));
  Mappable::Identity identity{inode_->device(), attr.ino, path().empty() ? "" : PathToString(path(), Path{})};
  return RefPtr<Mappable>(MakeRef<GoferMappable>(inode_, std::move(exact), std::move(identity)));
}

}  // namespace sandbox
