// OverlayInode: one object of an overlay. It has lower objects, an upper one, or both; see
// overlay.h.
//
// upper_ goes from null to an object once, when the file is copied up, and is then what counts.
// Locks: copy_mu_ makes copy-up happen once; dir_mu_ guards the names. Changes of one directory are
// serialised by the VFS besides.
#pragma once

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/vfs/file.h"

namespace sandbox {

class OverlayInode final : public Inode {
 public:
  // `lowers`: what the object is made of below, topmost first. `ino`: as the guest sees it.
  OverlayInode(FileSystem& fs, std::vector<InodeRef> lowers, InodeRef upper, uint32_t mode, uint64_t ino);
  ~OverlayInode() override;

  Result<Attr> GetAttr(Context& context) override;
  Result<void> SetAttr(Context& context, const AttrChange& change) override;
  Result<InodeRef> Lookup(Context& context, std::string_view name) override;
  void WalkAhead(Context& context, std::string_view name, const WalkPlan& plan) override;
  Result<InodeRef> Create(Context& context, std::string_view name, const CreateArgs& args) override;
  Result<void> Link(Context& context, std::string_view name, const InodeRef& target) override;
  Result<void> Unlink(Context& context, std::string_view name, const InodeRef& victim) override;
  Result<void> Rmdir(Context& context, std::string_view name, const InodeRef& victim) override;
  Result<void> Rename(Context& context, std::string_view old_name, const InodeRef& moved, Inode& new_dir,
                      std::string_view new_name, const InodeRef& victim, unsigned flags) override;
  Result<InodeRef> CreateUnlinked(Context& context, const CreateArgs& args) override;
  Result<std::string> ReadLink(Context& context) override;
  Result<FileRef> Open(Context& context, const Path& path, int flags) override;
  Result<std::string> GetXattr(Context& context, std::string_view name) override;
  Result<void> SetXattr(Context& context, std::string_view name, std::string_view value, int flags) override;
  Result<std::vector<std::string>> ListXattr(Context& context) override;
  Result<void> RemoveXattr(Context& context, std::string_view name) override;

  // --- For this file system's open files. ---
  // The upper object; null before copy-up. Lives as long as this inode.
  Inode* upper() const { return upper_raw_.load(std::memory_order_acquire); }
  const std::vector<InodeRef>& lowers() const { return lowers_; }
  uint64_t ino() const { return ino_; }

  // The names that this directory has or hides by itself.
  bool Overrides(std::string_view name) const;
  struct OwnEntry {
    uint64_t sequence;  // ascending; to continue behind it
    std::string name;
    uint64_t ino;
    uint8_t type;
  };
  std::vector<OwnEntry> OwnEntries(uint64_t before, size_t count) const;
  // Up to `count` entries of lower directory `layer` from *position on, without what is hidden by
  // this directory or by the layers above it.
  struct LowerEntry {
    std::string name;
    uint64_t ino;
    uint8_t type;
    int64_t next;
  };
  Result<std::vector<LowerEntry>> LowerEntries(Context& context, FileDescription& lower_file, size_t layer,
                                               int64_t position, size_t count);

 private:
  Inode& top() const { return upper() != nullptr ? *upper() : *lowers_.front(); }
  OverlayInodeRef self() { return std::static_pointer_cast<OverlayInode>(shared_from_this()); }
  // ESTALE once the file system is gone.
  Result<RefPtr<OverlayFs>> overlay() const;

  // copy_up.cc. Gives the object an upper one; `size` bytes of a file's data are copied at most.
  Result<void> CopyUp(uint64_t size = UINT64_MAX);
  Result<void> CopyData(Inode& to, uint64_t size);
  Result<void> CopyXattrs(Inode& to);
  // This object differs from its lower one from now on.
  void PinSelf();

  // Directories (overlay_dir.cc).
  Result<void> Touch();  // mtime and ctime of a directory whose names changed
  void SetEntry(std::string_view name, OverlayInodeRef inode, bool hides_lower);
  void ClearEntry(std::string_view name);
  Result<bool> HasEntries(Context& context);
  Result<OverlayInodeRef> AddNew(Context& context, std::string_view name, const CreateArgs& args);
  void AddLinks(int delta);
  Result<void> RemoveName(Context& context, std::string_view name, const InodeRef& victim);

  const std::vector<InodeRef> lowers_;
  const uint64_t ino_;
  Mutex copy_mu_{LockRank::kInode};
  InodeRef upper_owner_;  // written once, under copy_mu_, before upper_raw_
  std::atomic<Inode*> upper_raw_{nullptr};
  // Names this object has, as far as they differ from what its top layer reports; see links().
  std::atomic<int> link_delta_{0};
  std::atomic<int64_t> links_below_{-1};  // lower link count when it was copied up; -1 = not copied up

  struct Entry {
    OverlayInodeRef inode;  // null: the name is hidden (Linux: a whiteout)
    bool hides_lower;       // a lower layer has the name, so removing it must leave it hidden
    uint64_t sequence;
  };
  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  mutable Mutex dir_mu_{LockRank::kLeaf};
  std::unordered_map<std::string, Entry, NameHash, std::equal_to<>> entries_ GUARDED_BY(dir_mu_);
  std::map<uint64_t, const std::string*> order_ GUARDED_BY(dir_mu_);  // visible entries by sequence
  uint64_t next_sequence_ GUARDED_BY(dir_mu_) = 1;
};

}  // namespace sandbox
