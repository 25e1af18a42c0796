#include "sentry/fs/overlay/overlay_file.h"

#include <dirent.h>
#include <fcntl.h>

#include "sentry/mm/mappable.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/mount.h"

namespace sandbox {
namespace {

// A lower file's mapping, shown under the overlay's device and inode number as /proc/*/maps must.
class OverlayMappable final : public Mappable {
 public:
  OverlayMappable(RefPtr<Mappable> below, Identity identity)
      : below_(std::move(below)), identity_(std::move(identity)) {}

  Result<HostBacking> Back(Context& context, uint64_t offset, uint64_t length, const Use& use) override {
    return below_->Back(context, offset, length, use);
  }
  void CountMapping(int delta, bool writable_shared) override { below_->CountMapping(delta, writable_shared); }
  Identity MappingIdentity() const override { return identity_; }

 private:
  const RefPtr<Mappable> below_;
  const Identity identity_;
};

// Layout of directory positions.
constexpr int64_t kFirstEntry = 2;
constexpr int kLayerShift = 48;
constexpr int64_t kLayerMask = (int64_t{1} << kLayerShift) - 1;
constexpr int64_t kOwn = int64_t{1} << 62;
constexpr size_t kBatch = 128;

}  // namespace

OverlayFile::OverlayFile(const Path& path, int flags, OverlayInodeRef inode, FileRef lower)
    : FileDescription(path, flags), inode_(std::move(inode)), lower_(std::move(lower)) {}

Result<FileRef> OverlayFile::Current(Context& context) {
  if (inode_->upper() == nullptr) return lower_;
  {
    MutexLock lock(mu_);
    if (upper_ != nullptr) return upper_;
  }
  FileRef opened = TRY(inode_->upper()->Open(context, Path{}, flags()));
  MutexLock lock(mu_);
  if (upper_ == nullptr) upper_ = std::move(opened);
  return upper_;
}

Result<size_t> OverlayFile::Read(Context& context, IoSequence& to, int64_t* offset, int rwf) {
  if (inode_->upper() == nullptr) return lower_->Read(context, to, offset, rwf);
  return TRY(Current(context))->Read(context, to, offset, rwf);
}

Result<int64_t> OverlayFile::Seek(Context& context, int64_t offset, int whence) {
  return TRY(Current(context))->Seek(context, offset, whence);
}

Result<void> OverlayFile::Sync(Context& context, bool data_only) {
  return TRY(Current(context))->Sync(context, data_only);
}

Result<void> OverlayFile::Advise(Context& context, int64_t offset, int64_t length, int advice) {
  return TRY(Current(context))->Advise(context, offset, length, advice);
}

Result<int64_t> OverlayFile::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  return TRY(Current(context))->Ioctl(context, request, argument);
}

Result<RefPtr<Mappable>> OverlayFile::GetMappable(Context& context) {
  RefPtr<Mappable> below = TRY(TRY(Current(context))->GetMappable(context));
  Mappable::Identity identity{inode_->device(), inode_->ino(), PathToString(path(), Path{})};
  return RefPtr<Mappable>(MakeRef<OverlayMappable>(std::move(below), std::move(identity)));
}

BorrowedFd OverlayFile::HostFd() const {
  if (inode_->upper() == nullptr) return lower_->HostFd();
  MutexLock lock(mu_);
  return upper_ != nullptr ? upper_->HostFd() : BorrowedFd();
}

OverlayDirFile::OverlayDirFile(const Path& path, int flags, OverlayInodeRef inode)
    : FileDescription(path, flags), inode_(std::move(inode)) {}

Result<FileRef> OverlayDirFile::LowerFile(size_t layer) {
  {
    MutexLock lock(mu_);
    lower_files_.resize(inode_->lowers().size());
    if (lower_files_[layer] != nullptr) return lower_files_[layer];
  }
  FileRef opened = TRY(inode_->lowers()[layer]->Open(KernelContext(), Path{}, O_RDONLY | O_DIRECTORY));
  MutexLock lock(mu_);
  if (lower_files_[layer] == nullptr) lower_files_[layer] = std::move(opened);
  return lower_files_[layer];
}

// Each step returns false when the sink is full.
Result<bool> OverlayDirFile::ReadDots(Context& context, DirSink& sink, int64_t* position) {
  if (*position >= kFirstEntry) return true;
  if (*position == 0) {
    if (!sink.Emit(".", inode_->ino(), DT_DIR, 1)) return false;
    *position = 1;
  }
  uint64_t up = inode_->ino();
  if (path().dentry != nullptr) {
    if (DentryRef parent = path().dentry->parent(); parent != nullptr) {
      if (InodeRef inode = parent->inode()) up = TRY(inode->GetAttr(context)).ino;
    }
  }
  if (!sink.Emit("..", up, DT_DIR, kFirstEntry)) return false;
  *position = kFirstEntry;
  return true;
}

Result<bool> OverlayDirFile::ReadLower(Context& context, DirSink& sink, int64_t* position) {
  while (*position < kOwn) {
    const auto layer = static_cast<size_t>(*position >> kLayerShift);
    if (layer >= inode_->lowers().size()) break;
    const FileRef file = TRY(LowerFile(layer));
    // The lower file's own positions 0 and 1 are its "." and "..", so 2 starts it again after ours.
    const auto entries = TRY(inode_->LowerEntries(context, *file, layer, *position & kLayerMask, kBatch));
    if (entries.empty()) {
      *position = static_cast<int64_t>(layer + 1) << kLayerShift;
      continue;
    }
    for (const auto& entry : entries) {
      if (entry.next > kLayerMask) return Err(EOVERFLOW);
      const int64_t next = (static_cast<int64_t>(layer) << kLayerShift) | entry.next;
      if (!sink.Emit(entry.name, entry.ino, entry.type, next)) return false;
      *position = next;
    }
  }
  if (*position < kOwn) *position = kOwn;
  return true;
}

Result<void> OverlayDirFile::ReadDir(Context& context, DirSink& sink, int64_t* position) {
  if (*position == 0) {  // rewinddir(3) sees the lower directories anew
    MutexLock lock(mu_);
    lower_files_.clear();
  }
  if (!TRY(ReadDots(context, sink, position))) return {};
  if (!TRY(ReadLower(context, sink, position))) return {};
  for (;;) {
    const auto entries = inode_->OwnEntries(static_cast<uint64_t>(*position - kOwn), kBatch);
    if (entries.empty()) return {};
    for (const auto& entry : entries) {
      const int64_t next = kOwn + static_cast<int64_t>(entry.sequence);
      if (!sink.Emit(entry.name, entry.ino, entry.type, next)) return {};
      *position = next;
    }
  }
}

}  // namespace sandbox
