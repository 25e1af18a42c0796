// Open files and directories of a GoferFs.
#pragma once

#include "sentry/fs/gofer/inode.h"
#include "sentry/vfs/file.h"

namespace sandbox {

// What an open file has told of deferred changes that the host refused: fsync(2) on any file of the tree fails once
// after one (Linux: file_check_and_advance_wb_err).
class LostChanges {
 public:
  explicit LostChanges(const GoferJournal& journal) : journal_(journal), told_(journal.failed()) {}
  // After the journal was waited for.
  Result<void> Check() {
    const uint32_t now = journal_.failed();
    if (told_.exchange(now) != now) return Err(EIO);
    return {};
  }

 private:
  const GoferJournal& journal_;  // the client's, which the inode keeps
  std::atomic<uint32_t> told_;
};

// A regular file: data goes straight between the guest and a donated host descriptor, with one copy through this
// thread's transfer buffer.
class GoferFile final : public FileDescription {
 public:
  GoferFile(const Path& path, int flags, GoferInodeRef inode, HostFileRef file);
  ~GoferFile() override;

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override;
  bool seekable() const override { return true; }
  Result<int64_t> Seek(Context& context, int64_t offset, int whence) override;
  Result<void> Sync(Context& context, bool data_only) override;
  Result<void> Allocate(Context& context, int mode, int64_t offset, int64_t length) override;
  Result<void> Advise(Context& context, int64_t offset, int64_t length, int advice) override;
  Result<RefPtr<Mappable>> GetMappable(Context& context) override;
  BorrowedFd HostFd() const override { return file_->fd.borrow(); }

 private:
  Result<size_t> WriteChunk(const char* data, size_t size, int64_t* offset, int rwf);

  const GoferInodeRef inode_;
  const HostFileRef file_;
  std::atomic<bool> read_noted_{false};
  LostChanges lost_;
};

class GoferDirFile final : public FileDescription {
 public:
  GoferDirFile(const Path& path, int flags, GoferInodeRef inode);
  ~GoferDirFile() override;

  Result<void> ReadDir(Context& context, DirSink& sink, int64_t* position) override;
  bool seekable() const override { return true; }
  Result<int64_t> Seek(Context& context, int64_t offset, int whence) override;
  Result<void> Sync(Context& context, bool data_only) override;

 private:
  const GoferInodeRef inode_;
  LostChanges lost_;
  Mutex mu_{LockRank::kLeaf};
  DirListingRef listing_ GUARDED_BY(mu_);
};

}  // namespace sandbox
