// A regular tmpfs file, its open form and its mappings. Memory files (memfd_create) are the same
// without a name.
#pragma once

#include <atomic>

#include "sentry/fs/tmpfs/data.h"
#include "sentry/fs/tmpfs/inode.h"
#include "sentry/mm/mappable.h"
#include "sentry/vfs/file.h"

namespace sandbox {

class TmpfsRegular final : public TmpfsInode {
 public:
  TmpfsRegular(FileSystem& fs, RefPtr<TmpfsUsage> usage, uint32_t mode, uint32_t uid, uint32_t gid)
      : TmpfsInode(fs, usage, mode, uid, gid), data_(std::move(usage)) {}

  Result<FileRef> Open(Context& context, const Path& path, int flags) override;

  // Through a kernel buffer, so that no lock is held while guest memory is touched. `append` writes
  // at the end and sets *offset. EPERM for what a seal forbids.
  Result<size_t> ReadAt(uint64_t offset, char* to, size_t count);
  Result<size_t> WriteAt(uint64_t* offset, bool append, const char* from, size_t count);
  uint64_t size() const;
  Result<int64_t> Seek(int64_t offset, int whence);
  Result<void> Allocate(Context& context, int mode, int64_t offset, int64_t length);
  void SetAccessTime(const FileTime& now);

  // Seals of fcntl(2). EPERM when sealing is over (F_SEAL_SEAL, as on every ordinary file), EBUSY
  // for F_SEAL_WRITE with writable shared mappings.
  Result<void> AddSeals(uint32_t seals);
  uint32_t seals() const;
  void set_initial_seals(uint32_t seals);

  // For mappings.
  Result<RefPtr<HostMemory>> ToHostMemory();
  // True when a seal forbids writable shared mappings; EPERM when `writes` asks for one.
  Result<bool> StartMapping(bool writes);
  void CountMapping(int delta, bool writable_shared);
  // Stores through a mapping do not show in a memory file's times.
  bool was_mapped_writable() const { return was_mapped_writable_.load(); }

 protected:
  void FillSize(Attr& attr) const override REQUIRES(mu_);
  Result<void> Resize(uint64_t size) override REQUIRES(mu_);

 private:
  TmpfsData data_ GUARDED_BY(mu_);
  uint32_t seals_ GUARDED_BY(mu_) = 1;  // F_SEAL_SEAL: only memory files start without it
  std::atomic<int> writable_mappings_{0};
  std::atomic<bool> was_mapped_writable_{false};
};

}  // namespace sandbox
