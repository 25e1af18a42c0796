// Open directories of a GoferFs.

#include <dirent.h>

#include "sentry/fs/gofer/file.h"
#include "sentry/vfs/dentry.h"

namespace sandbox {
namespace {

// Positions 0 and 1 are "." and ".."; entry i of the listing is at i + kFirstEntry.
constexpr int64_t kFirstEntry = 2;
constexpr size_t kBatch = 128;

}  // namespace

GoferDirFile::GoferDirFile(const Path& path, int flags, GoferInodeRef inode)
    : FileDescription(path, flags), inode_(std::move(inode)), lost_(inode_->journal()) {
  inode_->OpenCount(1);
}

GoferDirFile::~GoferDirFile() { inode_->OpenCount(-1); }

Result<void> GoferDirFile::ReadDir(Context& context, DirSink& sink, int64_t* position) {
  DirListingRef listing;
  {
    MutexLock lock(mu_);
    listing = listing_;
  }
  if (listing == nullptr || *position == 0) {  // rewinddir(3) sees the directory anew
    listing = TRY(inode_->Listing());
    MutexLock lock(mu_);
    listing_ = listing;
  }
  if (*position < kFirstEntry) {
    const uint64_t own = TRY(inode_->GetAttr(context)).ino;
    if (*position == 0) {
      if (!sink.Emit(".", own, DT_DIR, 1)) return {};
      *position = 1;
    }
    uint64_t up = own;
    if (path().dentry != nullptr) {
      if (DentryRef parent = path().dentry->parent()) {
        if (InodeRef inode = parent->inode()) up = TRY(inode->GetAttr(context)).ino;
      }
    }
    if (!sink.Emit("..", up, DT_DIR, kFirstEntry)) return {};
    *position = kFirstEntry;
  }
  for (;;) {
    const auto items = listing->Read(static_cast<size_t>(*position - kFirstEntry), kBatch);
    if (items.empty()) return {};
    for (const DirListing::Item& item : items) {
      const int64_t next = static_cast<int64_t>(item.position) + kFirstEntry;
      if (!sink.Emit(item.name, item.ino, item.type, next)) return {};
      *position = next;
    }
  }
}

Result<int64_t> GoferDirFile::Seek(Context&, int64_t, int whence) {
  if (whence != SEEK_END) return Err(EINVAL);
  MutexLock lock(mu_);
  return listing_ == nullptr ? kFirstEntry : static_cast<int64_t>(listing_->size()) + kFirstEntry;
}

Result<void> GoferDirFile::Sync(Context&, bool) {
  TRY(inode_->SyncWithoutFile());
  return lost_.Check();
}

}  // namespace sandbox
