// Open files and directories of an overlay.
#pragma once

#include <vector>

#include "base/mutex.h"
#include "sentry/fs/overlay/overlay_inode.h"
#include "sentry/vfs/file.h"

namespace sandbox {

// A regular file that was opened for reading while it was in a lower layer only. Files that have an upper object are
// opened there directly, with nothing of the overlay in between.
class OverlayFile final : public FileDescription {
 public:
  OverlayFile(const Path& path, int flags, OverlayInodeRef inode, FileRef lower);

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  bool seekable() const override { return true; }
  Result<int64_t> Seek(Context& context, int64_t offset, int whence) override;
  Result<void> Sync(Context& context, bool data_only) override;
  Result<void> Advise(Context& context, int64_t offset, int64_t length, int advice) override;
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;
  Result<RefPtr<Mappable>> GetMappable(Context& context) override;
  BorrowedFd HostFd() const override;

 private:
  // The lower file, or the upper one once there is one.
  Result<FileRef> Current(Context& context);

  const OverlayInodeRef inode_;
  const FileRef lower_;
  mutable Mutex mu_{LockRank::kLeaf};
  FileRef upper_ GUARDED_BY(mu_);
};

// Positions: 0 and 1 are "." and ".."; then the lower layers' entries, each layer in a range of its own, then the
// directory's own entries by sequence. All of them are stable while the directory changes.
class OverlayDirFile final : public FileDescription {
 public:
  OverlayDirFile(const Path& path, int flags, OverlayInodeRef inode);

  Result<void> ReadDir(Context& context, DirSink& sink, int64_t* position) override;
  bool seekable() const override { return true; }
  Result<void> Sync(Context&, bool) override { return {}; }

 private:
  Result<bool> ReadDots(Context& context, DirSink& sink, int64_t* position);
  Result<bool> ReadLower(Context& context, DirSink& sink, int64_t* position);
  Result<FileRef> LowerFile(size_t layer);

  const OverlayInodeRef inode_;
  Mutex mu_{LockRank::kLeaf};
  std::vector<FileRef> lower_files_ GUARDED_BY(mu_);
};

}  // namespace sandbox
