// Overlay: a writable tree over read-only ones (Linux: fs/overlayfs), made for an upper layer that is private and in
// memory.
//
// Linux must find its way back from the disk: whiteouts, opaque marks, redirects and origins live in the upper file
// system. Here the upper layer dies with the sandbox, so all of that is sentry memory: a directory keeps a map of the
// names that differ from the layers below, and the upper file system only provides anonymous objects that hold data,
// attributes and extended attributes. Hence
//   - renaming a directory of a lower layer works (Linux: EXDEV without redirect_dir): the object takes its lower
//     directories along;
//   - copy-up needs no parents and keeps the identity of hard links and the inode number;
//   - creating and removing names costs no request to the layers below.
//
// A file opened for reading before its copy-up reads the new data afterwards (Linux reads the old file for ever); a
// mapping made before keeps showing the lower file, as Linux documents for overlayfs.
#pragma once

#include <atomic>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/vfs/inode.h"

namespace sandbox {

class OverlayInode;
using OverlayInodeRef = RefPtr<OverlayInode>;

class OverlayFs final : public FileSystem {
 public:
  OverlayFs(RefPtr<FileSystem> upper, std::vector<RefPtr<FileSystem>> lowers);

  std::string_view type_name() const override { return "overlay"; }
  InodeRef root() override;
  Result<FsStat> StatFs(Context& context) override;
  std::string MountOptions() const override { return "lowerdir=/,upperdir=none"; }
  bool exclusive() const override { return exclusive_; }

  // --- For the inodes. ---
  // The inode for lower objects (topmost first); one lower object is one inode, whatever name leads to it.
  Result<OverlayInodeRef> Intern(Context& context, std::vector<InodeRef> lowers);
  // Keeps an inode that differs from its lower object alive when no dentry does: only it knows the difference.
  void Pin(const OverlayInodeRef& inode, const InodeRef& lower);
  void Unpin(const InodeRef& lower);
  // From the inode's destructor.
  void Expired(const Inode* lower);
  // A new object in the upper file system that has no name there.
  Result<InodeRef> MakeUpper(Context& context, const CreateArgs& args);
  uint64_t NewIno() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }

 private:
  friend Result<RefPtr<FileSystem>> MakeOverlay(Context&, RefPtr<FileSystem>, std::vector<RefPtr<FileSystem>>);
  struct Slot {
    WeakRef<OverlayInode> inode;
    OverlayInodeRef pinned;
  };

  const RefPtr<FileSystem> upper_;
  const InodeRef upper_root_;
  const std::vector<RefPtr<FileSystem>> lowers_;
  const bool exclusive_;
  OverlayInodeRef root_;
  // Out of the way of the lower file systems' numbers.
  std::atomic<uint64_t> next_ino_{uint64_t{1} << 48};
  // Creations in the upper root, which the VFS would serialise by the directory's lock.
  Mutex stage_mu_{LockRank::kInode};
  uint64_t next_stage_ GUARDED_BY(stage_mu_) = 0;
  Mutex mu_{LockRank::kLeaf};
  std::unordered_map<const Inode*, Slot> by_lower_ GUARDED_BY(mu_);
};

// An overlay of `upper` (fresh, empty, used by nobody else) over `lowers`, topmost first, at least one.
Result<RefPtr<FileSystem>> MakeOverlay(Context& context, RefPtr<FileSystem> upper,
                                       std::vector<RefPtr<FileSystem>> lowers);

}  // namespace sandbox
