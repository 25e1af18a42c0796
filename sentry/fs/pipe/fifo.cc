// Opening a fifo (fifo(7); Linux: fifo_open in fs/pipe.c).
#include "sentry/fs/pipe/pipe_file.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/special.h"

namespace sandbox {
namespace {

// What the inode keeps. It does not own the pipe: the data of a fifo nobody has open is gone.
struct FifoSlot {
  Mutex mu{LockRank::kPipe};
  WeakRef<Pipe> pipe GUARDED_BY(mu);
};

RefPtr<Pipe> PipeOfInode(Inode& inode) {
  // Two racing first openers must agree on one slot.
  static Mutex attach_mu{LockRank::kPipe};
  RefPtr<FifoSlot> slot;
  {
    MutexLock lock(attach_mu);
    slot = std::static_pointer_cast<FifoSlot>(inode.attachment());
    if (slot == nullptr) {
      slot = MakeRef<FifoSlot>();
      inode.set_attachment(slot);
    }
  }
  MutexLock lock(slot->mu);
  auto pipe = slot->pipe.lock();
  if (pipe == nullptr) {
    pipe = MakeRef<Pipe>();
    slot->pipe = pipe;
  }
  return pipe;
}

// Waits until the other side was opened after `seen`; a partner that came and went counts.
Result<void> WaitForPartner(Context& context, Pipe& pipe, bool for_writer, uint64_t seen) {
  return BlockUntil(context, pipe.wait_queue(), kReadable | kWritable, {}, [&]() -> Result<void> {
    const uint64_t opens = for_writer ? pipe.writer_opens() : pipe.reader_opens();
    return opens != seen ? Result<void>() : Err(EAGAIN);
  });
}

[[maybe_unused]] const bool registered = [] {
  SetFifoOpener(&OpenFifo);
  return true;
}();

}  // namespace

Result<FileRef> OpenFifo(Context& context, const Path& path, int flags) {
  auto pipe = PipeOfInode(*path.inode());
  const int access = flags & O_ACCMODE;
  const bool nonblock = flags & O_NONBLOCK;
  if (access == O_WRONLY && nonblock && !pipe->HasReaders()) return Err(ENXIO);
  const bool alone = access == O_RDONLY ? !pipe->HasWriters() : !pipe->HasReaders();
  const uint64_t seen = access == O_RDONLY ? pipe->writer_opens() : pipe->reader_opens();

  RefPtr<PipeFile> file(new PipeFile(path, flags, pipe, 0, 0, 0));
  if (access == O_RDWR || !alone) return FileRef(file);
  if (nonblock) {
    file->writers_seen_.store(seen);  // poll reports no hang-up until a writer has come and gone
    return FileRef(file);
  }
  TRY(WaitForPartner(context, *pipe, access == O_RDONLY, seen));
  return FileRef(file);
}

}  // namespace sandbox
