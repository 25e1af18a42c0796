// The open form of a regular tmpfs file and what mm sees of it.
#include <memory>
#include <vector>

#include <linux/fs.h>
#include <sys/mman.h>

#include "sentry/fs/tmpfs/regular.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/io.h"
#include "sentry/vfs/mount.h"

namespace sandbox {
namespace {

constexpr size_t kChunk = 64 * 1024;
// An append up to this size is one step for other writers.
constexpr size_t kAtomicAppend = 1 << 20;

// One for each sentry thread that comes here: large enough that a chunk's copy outweighs its bookkeeping, and too large
// for what every thread gets.
char* Scratch() {
  static thread_local const auto scratch = std::make_unique_for_overwrite<char[]>(kChunk);
  return scratch.get();
}

// One open description's view for mm: it decides how much the stub's descriptor may do.
class TmpfsMapping final : public Mappable {
 public:
  // `path` is empty for a file that is the data of another file system's object (overlay), or leads to that object,
  // whose `device` and inode number `ino` are then.
  TmpfsMapping(RefPtr<TmpfsRegular> inode, Path path, uint64_t device, uint64_t ino, bool writable)
      : inode_(std::move(inode)), path_(std::move(path)), device_(device), ino_(ino), writable_(writable) {}

  Result<HostBacking> Back(Context&, uint64_t, uint64_t, const Use& use) override {
    HostBacking backing;
    backing.read_only = TRY(inode_->StartMapping(use.writes()));
    RefPtr<HostMemory> memory = TRY(inode_->ToHostMemory());
    backing.fd = writable_ && !backing.read_only ? memory->fd() : TRY(memory->ReadOnly());
    backing.keep_alive = std::move(memory);
    backing.versioned = !inode_->was_mapped_writable();
    return backing;
  }
  void CountMapping(int delta, bool writable_shared) override { inode_->CountMapping(delta, writable_shared); }
  Identity MappingIdentity() const override {
    return {device_, ino_, path_.empty() ? std::string() : PathToString(path_, {})};
  }

 private:
  const RefPtr<TmpfsRegular> inode_;
  const Path path_;
  const uint64_t device_, ino_;
  const bool writable_;
};

class TmpfsFile final : public FileDescription {
 public:
  // `path` may lead to another inode (an overlay's), whose data `inode` holds.
  TmpfsFile(Path path, int flags, RefPtr<TmpfsRegular> inode)
      : FileDescription(std::move(path), flags), inode_(std::move(inode)) {}

  bool seekable() const override { return true; }

  Result<size_t> Read(Context&, IoSequence& to, int64_t* offset, int) override {
    size_t total = 0;
    while (!to.empty()) {
      const size_t got =
          TRY(inode().ReadAt(static_cast<uint64_t>(*offset), Scratch(), std::min(to.remaining(), kChunk)));
      if (got == 0) break;
      auto copied = to.CopyOut(Scratch(), got);
      if (!copied.ok()) {
        if (total == 0) return copied;
        break;
      }
      *offset += static_cast<int64_t>(*copied);
      total += *copied;
      if (*copied < got) break;
    }
    if (total > 0) TouchAccess();
    return total;
  }

  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override {
    const bool append = ((flags() & O_APPEND) && !(rwf & kRwfNoAppend)) || (rwf & RWF_APPEND);
    if (append) *offset = static_cast<int64_t>(inode().size());
    if (from.empty()) return size_t{0};
    from.Truncate(TRY(CheckFileSize(context, *offset, from.remaining())));
    std::vector<char> large;
    size_t chunk = kChunk;
    if (append && from.remaining() > kChunk) {
      chunk = std::min(from.remaining(), kAtomicAppend);
      large.resize(chunk);
    }
    char* const buffer = large.empty() ? Scratch() : large.data();
    size_t total = 0;
    while (!from.empty()) {
      auto step = WriteChunk(from, offset, append, buffer, chunk);
      if (!step.ok()) {
        if (total == 0) return step;
        break;
      }
      total += *step;
      if (*step == 0) break;
    }
    return total;
  }

  Result<int64_t> Seek(Context&, int64_t offset, int whence) override { return inode().Seek(offset, whence); }
  Result<void> Sync(Context&, bool) override { return {}; }
  Result<void> Allocate(Context& context, int mode, int64_t offset, int64_t length) override {
    return inode().Allocate(context, mode, offset, length);
  }
  Result<RefPtr<Mappable>> GetMappable(Context& context) override {
    uint64_t device = inode_->device(), ino = inode_->ino();
    if (const InodeRef shown = path().inode()) {
      device = shown->device();
      ino = TRY(shown->GetAttr(context)).ino;
    }
    return RefPtr<Mappable>(MakeRef<TmpfsMapping>(inode_, path(), device, ino, writable()));
  }

 private:
  TmpfsRegular& inode() const { return *inode_; }

  // A short write (no space, a seal) leaves the rest of the chunk consumed but unwritten: the call
  // ends there.
  Result<size_t> WriteChunk(IoSequence& from, int64_t* offset, bool append, char* buffer, size_t chunk) {
    const size_t want = std::min(from.remaining(), chunk);
    const size_t got = TRY(from.CopyIn(buffer, want));
    auto at = static_cast<uint64_t>(*offset);
    const size_t done = TRY(inode().WriteAt(&at, append, buffer, got));
    *offset = static_cast<int64_t>(at);
    if (done < got) from.Truncate(0);
    return done;
  }

  void TouchAccess() {
    auto attr = inode().GetAttr(KernelContext());
    const FileTime now = FileTimeNow();
    if (attr.ok() && WantsAccessTime(*this, *attr, now)) inode().SetAccessTime(now);
  }

  const RefPtr<TmpfsRegular> inode_;
};

}  // namespace

Result<FileRef> TmpfsRegular::Open(Context&, const Path& path, int flags) {
  return FileRef(MakeRef<TmpfsFile>(path, flags, std::static_pointer_cast<TmpfsRegular>(shared_from_this())));
}

}  // namespace sandbox
