// Inodes of tmpfs: what all types share, and the simple types.
#pragma once

#include <map>
#include <string>

#include "base/mutex.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/inode.h"

namespace sandbox {

class TmpfsInode : public Inode {
 public:
  TmpfsInode(FileSystem& fs, RefPtr<TmpfsUsage> usage, uint32_t mode, uint32_t uid, uint32_t gid);
  ~TmpfsInode() override;

  Result<Attr> GetAttr(Context& context) override;
  Result<void> SetAttr(Context& context, const AttrChange& change) override;
  Result<std::string> GetXattr(Context& context, std::string_view name) override;
  Result<void> SetXattr(Context& context, std::string_view name, std::string_view value, int flags) override;
  Result<std::vector<std::string>> ListXattr(Context& context) override;
  Result<void> RemoveXattr(Context& context, std::string_view name) override;

  uint64_t ino() const { return ino_; }
  uint32_t mode_type() const { return type_bits_; }
  // Changes the link count by `delta`. ENOENT when a link is added to an unlinked inode that is not linkable.
  Result<void> ChangeLinks(int delta);
  void set_linkable(bool linkable) { linkable_ = linkable; }  // O_TMPFILE, before the inode is shared

 protected:
  virtual void FillSize(Attr& attr) const REQUIRES(mu_) = 0;
  virtual Result<void> Resize(uint64_t size) REQUIRES(mu_) = 0;
  void TouchChange(bool modified) REQUIRES(mu_);  // ctime, and mtime when the contents changed
  // New contents are not what the file's capabilities were given to (Linux: cap_inode_killpriv).
  void DropCapabilities() REQUIRES(mu_);

  const RefPtr<TmpfsUsage> usage_;
  mutable Mutex mu_{LockRank::kInode};
  Attr attr_ GUARDED_BY(mu_);

 private:
  const uint64_t ino_;
  const uint32_t type_bits_;
  bool linkable_ = false;
  std::map<std::string, std::string, std::less<>> xattrs_ GUARDED_BY(mu_);
  size_t xattr_bytes_ GUARDED_BY(mu_) = 0;
  void EraseXattr(std::map<std::string, std::string, std::less<>>::iterator it) REQUIRES(mu_);
};

class TmpfsSymlink final : public TmpfsInode {
 public:
  TmpfsSymlink(FileSystem& fs, RefPtr<TmpfsUsage> usage, const CreateArgs& args)
      : TmpfsInode(fs, std::move(usage), args.mode, args.uid, args.gid), target_(args.target) {}
  Result<std::string> ReadLink(Context&) override { return target_; }

 protected:
  void FillSize(Attr& attr) const override REQUIRES(mu_) { attr.size = target_.size(); }
  Result<void> Resize(uint64_t) override REQUIRES(mu_) { return Err(EINVAL); }

 private:
  const std::string target_;
};

// Fifos, sockets and device nodes: only attributes; the VFS opens them.
class TmpfsSpecial final : public TmpfsInode {
 public:
  TmpfsSpecial(FileSystem& fs, RefPtr<TmpfsUsage> usage, const CreateArgs& args)
      : TmpfsInode(fs, std::move(usage), args.mode, args.uid, args.gid) {
    MutexLock lock(mu_);
    attr_.rdev = args.rdev;
  }

 protected:
  void FillSize(Attr&) const override REQUIRES(mu_) {}
  Result<void> Resize(uint64_t) override REQUIRES(mu_) { return Err(EINVAL); }
};

// Any type but S_IFDIR's children: a new inode with one link. ENOSPC.
Result<InodeRef> MakeTmpfsInode(FileSystem& fs, const RefPtr<TmpfsUsage>& usage, const CreateArgs& args);

}  // namespace sandbox
