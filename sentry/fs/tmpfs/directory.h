// A tmpfs directory and its open form.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sentry/fs/tmpfs/inode.h"
#include "sentry/vfs/file.h"

namespace sandbox {

class TmpfsDirectory final : public TmpfsInode {
 public:
  TmpfsDirectory(FileSystem& fs, RefPtr<TmpfsUsage> usage, uint32_t mode, uint32_t uid, uint32_t gid)
      : TmpfsInode(fs, std::move(usage), mode, uid, gid) {}

  Result<InodeRef> Lookup(Context& context, std::string_view name) override;
  Result<InodeRef> Create(Context& context, std::string_view name, const CreateArgs& args) override;
  Result<void> Link(Context& context, std::string_view name, const InodeRef& target) override;
  Result<void> Unlink(Context& context, std::string_view name, const InodeRef& victim) override;
  Result<void> Rmdir(Context& context, std::string_view name, const InodeRef& victim) override;
  Result<void> Rename(Context& context, std::string_view old_name, const InodeRef& moved, Inode& new_dir,
                      std::string_view new_name, const InodeRef& victim, unsigned flags) override;
  Result<InodeRef> CreateUnlinked(Context& context, const CreateArgs& args) override;
  Result<FileRef> Open(Context& context, const Path& path, int flags) override;

  // Entries from `position` on: 0 ".", 1 "..", 2 the newest entry, then the number of the entry
  // given last. Newest first, as Linux's tmpfs; an entry keeps its number, so that a reader neither
  // misses nor repeats one when others come and go.
  void ReadEntries(DirSink& sink, const DentryRef& self, int64_t* position);
  // Empties it, for the end of the file system.
  std::vector<InodeRef> TakeChildren();

 protected:
  void FillSize(Attr& attr) const override REQUIRES(mu_);
  Result<void> Resize(uint64_t) override REQUIRES(mu_) { return Err(EISDIR); }

 private:
  struct Entry {
    std::string name;
    InodeRef inode;
  };
  bool IsEmpty() const;
  void Insert(std::string_view name, InodeRef inode) REQUIRES(mu_);
  void Erase(std::string_view name) REQUIRES(mu_);
  // Puts `inode` in the place of an existing entry's.
  void Replace(std::string_view name, InodeRef inode) REQUIRES(mu_);
  Result<void> Exchange(std::string_view old_name, const InodeRef& moved, TmpfsDirectory& to, std::string_view new_name,
                        const InodeRef& victim);

  static constexpr int64_t kFirstEntry = 2;
  std::map<int64_t, Entry> entries_ GUARDED_BY(mu_);
  std::unordered_map<std::string_view, int64_t> by_name_ GUARDED_BY(mu_);  // keys are the entries' names
  int64_t next_position_ GUARDED_BY(mu_) = kFirstEntry + 1;
};

}  // namespace sandbox
