// GoferInode: one host object as the sentry knows it.
//
// Attributes are cached. In an exclusive tree they stay valid until this sandbox changes the object; changes through a
// donated descriptor (writes, mappings) only mark them stale, and the next stat asks the host with fstat(2) on that
// descriptor, which costs no round trip. In a shared tree they are good for kSharedValidNs only, then the gofer is
// asked.
//
// Locks: mu_ guards attributes, dir_mu_ what is known of the names below; neither is held over a round trip. The VFS
// serialises lookups and changes in one directory, and dir_version_ catches a listing that was being read meanwhile.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/mutex.h"
#include "sentry/fs/gofer/dir_listing.h"
#include "sentry/fs/gofer/fs.h"
#include "sentry/fs/gofer/host_file.h"

namespace sandbox {

class GoferInode final : public Inode {
 public:
  // How long attributes of a shared tree are believed: enough for the checks of one system call.
  static constexpr int64_t kSharedValidNs = 200'000;
  // For how long names of an exclusive tree, and attributes of files that are open on the host, are believed without
  // another look: the host's own changes show after that at the latest.
  static constexpr int64_t kLeaseNs = 1'000'000'000;
  // The same for lookups of its directories that were answered ahead of the question.
  static constexpr int64_t kAheadValidNs = 2'000'000;

  GoferInode(FileSystem& fs, GoferTreeRef tree, GoferEntry entry);
  ~GoferInode() override;

  Result<Attr> GetAttr(Context& context) override;
  Result<Attr> GetAccessAttr(Context& context) override;
  Result<void> SetAttr(Context& context, const AttrChange& change) override;

  Result<InodeRef> Lookup(Context& context, std::string_view name) override;
  Result<InodeRef> Create(Context& context, std::string_view name, const CreateArgs& args) override;
  Result<void> Link(Context& context, std::string_view name, const InodeRef& target) override;
  Result<void> Unlink(Context& context, std::string_view name, const InodeRef& victim) override;
  Result<void> Rmdir(Context& context, std::string_view name, const InodeRef& victim) override;
  Result<void> Rename(Context& context, std::string_view old_name, const InodeRef& moved, Inode& new_dir,
                      std::string_view new_name, const InodeRef& victim, unsigned flags) override;
  Result<InodeRef> CreateUnlinked(Context& context, const CreateArgs& args) override;
  // One round trip for `name`, all that the path has below it, and the open of a file at its end.
  void CheckNames(Context& context) override;
  void WalkAhead(Context& context, std::string_view name, const WalkPlan& plan) override;
  Result<InodeRef> Revalidate(Context& context, std::string_view name, const InodeRef& cached) override;

  Result<std::string> ReadLink(Context& context) override;
  Result<FileRef> Open(Context& context, const Path& path, int flags) override;

  Result<std::string> GetXattr(Context& context, std::string_view name) override;
  Result<void> SetXattr(Context& context, std::string_view name, std::string_view value, int flags) override;
  Result<std::vector<std::string>> ListXattr(Context& context) override;
  Result<void> RemoveXattr(Context& context, std::string_view name) override;

  // --- For this file system's open files. ---
  // A descriptor with the access mode `access`, from the cache or the gofer.
  Result<HostFileRef> HostFileExact(int access);
  // One that can do what `access` asks for, used by the sentry only: a wider one that is open already will do.
  Result<HostFileRef> HostFileFor(int access);
  HostFileRef AddHostFile(UniqueFd fd, int access);
  // All entries: the cached listing of an exclusive tree, or a fresh one.
  Result<DirListingRef> Listing();
  // Data or times have changed behind the cached attributes.
  void MarkStale() { stale_.store(true, std::memory_order_release); }
  // The host may have updated atime, as relatime mounts do.
  void NoteRead();
  void OpenCount(int delta);
  void CountWritableMapping(int delta) {
    writable_mappings_.fetch_add(delta, std::memory_order_relaxed);
    was_mapped_writable_.store(true, std::memory_order_relaxed);
  }
  // Stores through a mapping do not show in the times of every file system.
  bool was_mapped_writable() const { return was_mapped_writable_.load(std::memory_order_relaxed); }
  // Appends are atomic with the size; held over one pwrite(2), never over a copy of guest memory.
  Mutex& append_mutex() { return append_mu_; }
  Result<void> SyncWithoutFile() { return tree_->client().Sync(handle()->value()); }
  // Before the host file is used through a donated descriptor: what the gofer was told to make of its times and mode
  // comes first.
  void SettleAttributes();
  // Before it is written to, or its size changed.
  void NoteWrite();
  // Before anybody looks at the host's modification time of a file that was prepared and not written to.
  void StampUnwritten();
  GoferTree& tree() const { return *tree_; }
  const GoferJournal& journal() const { return tree_->client().journal(); }

  // --- For the tree's table. ---
  uint64_t host_dev() const { return dev_; }
  uint64_t host_ino() const { return ino_; }
  bool IsSameObject(const gofer::FileAttr& attr) const;
  // A newer answer about this object.
  void Update(GoferEntry entry);
  uint32_t type() const { return type_; }

 private:
  friend class GoferFs;
  // Never copied out of the inode without its lock; kept by a call while it runs.
  GoferHandleRef handle() const;
  Attr ToAttr() const REQUIRES(mu_);
  bool IsFresh() const;
  uint64_t BeginFetch();
  void StoreAttr(const gofer::FileAttr& attr, uint64_t fetch);
  Result<void> Refresh();
  HostFileRef OpenHostFile() const;
  Result<void> RefreshFrom(const HostFile& file, uint64_t fetch);
  Result<void> SetSize(uint64_t size);
  Result<void> SetAttrRemote(const gofer::SetAttrRequest& request);
  void KeepOwner(uint32_t uid, uint32_t gid);

  // inode_dir.cc
  Result<InodeRef> LookupWindow(std::string_view name, DirListing& listing);
  Result<InodeRef> LookupOne(std::string_view name);
  // The inode of an object the gofer found below this directory.
  Result<GoferInodeRef> Adopt(GoferEntry entry);
  Result<DirListingRef> LoadListing(bool first_batch_only);
  DirListingRef CachedListing() const;
  std::optional<GoferInodeRef> TakeAhead(std::string_view name);
  void PutAhead(std::string_view name, GoferInodeRef inode);
  void NoteMiss();
  // The lookup of `name` needs no answer from the host.
  bool Knows(std::string_view name) const;
  // Names that appear in and go from this directory.
  void NameAdded(std::string_view name, const GoferInode& inode);
  void NameRemoved(std::string_view name);
  // A change in this directory was made: its attributes afterwards.
  void ChangeMade(const gofer::FileAttr& attr, bool room);
  Result<void> Remove(std::string_view name, const InodeRef& victim, bool is_dir);
  // The clock that host file systems stamp with.
  static FileTime HostNow();
  // A rename by our own doing.
  void MovedTo(const GoferInode& dir);
  Result<void> RenameNow(std::string_view old_name, GoferInode& object, GoferInode& target, std::string_view new_name,
                         GoferInode* replaced, unsigned flags);

  bool Doubtful() const REQUIRES(mu_);
  void ForgetNames();

  // inode_prepared.cc. Whether files that were made elsewhere may be named in this directory.
  enum class Placing { kUnknown, kProven, kRefused };
  Placing GetPlacing() const;
  void SetPlacing(Placing placing);
  // Null: to be made the ordinary way.
  InodeRef CreatePrepared(std::string_view name, const CreateArgs& args);
  void SetBorn(const FileTime& time);

  // inode_deferred.cc: changes whose success is certain enough not to wait for (docs/FILES.md).
  enum class Takes { kNothing, kRoom };
  bool ProvenDirectory(Takes takes) const;
  bool MayBeRemovedFrom(const GoferInode& dir) const;
  bool MadeHere() const { return made_in_.load(std::memory_order_relaxed) != 0; }
  bool DeferSetAttr(const gofer::SetAttrRequest& request);
  bool DeferLink(std::string_view name, GoferInode& target);
  bool DeferRemove(std::string_view name, GoferInode& victim, bool is_dir);
  bool DeferRename(std::string_view old_name, GoferInode& object, GoferInode& target, std::string_view new_name,
                   GoferInode* replaced, unsigned flags);
  // The gofer will change this object: what it will be like is known by then.
  void ChangesLater(uint64_t number);
  void DirectoryChangesLater(uint64_t number);
  void LoseName(bool last);
  bool InUse() const;

  const GoferTreeRef tree_;
  const uint64_t dev_;
  const uint64_t ino_;
  const uint32_t type_;
  const std::string target_;

  mutable Mutex mu_{LockRank::kLeaf};
  GoferHandleRef handle_ GUARDED_BY(mu_);
  gofer::FileAttr attr_ GUARDED_BY(mu_);
  int64_t fetched_ns_ GUARDED_BY(mu_) = 0;
  uint64_t fetches_ GUARDED_BY(mu_) = 0;  // begun
  uint64_t stored_ GUARDED_BY(mu_) = 0;   // the newest that was stored
  // Owner the guest gave it and the host refused (a gofer without CAP_CHOWN).
  std::optional<std::pair<uint32_t, uint32_t>> owner_ GUARDED_BY(mu_);
  uint32_t fetch_doubts_ GUARDED_BY(mu_) = 0;  // GoferClient::doubts when the last fetch began
  std::atomic<bool> stale_{false};
  std::atomic<int> open_count_{0};
  std::atomic<int> writable_mappings_{0};
  std::atomic<bool> was_mapped_writable_{false};
  std::atomic<bool> has_host_files_{false};
  std::atomic<bool> removed_{false};  // no name left
  std::atomic<uint64_t> made_in_{0};  // number of the directory in which this sandbox made it; 0: found
  // Directories: when their names were last looked at, at which count of doubts, and whether we changed any since.
  std::atomic<int64_t> names_checked_ns_{0};
  std::atomic<uint32_t> names_doubts_{0};
  std::atomic<bool> names_changed_{false};
  using Times = std::array<int64_t, 4>;  // mtime, ctime
  Times names_times_ GUARDED_BY(mu_);    // as of that look
  Times times() const REQUIRES(mu_) { return {attr_.mtime_s, attr_.mtime_ns, attr_.ctime_s, attr_.ctime_ns}; }
  std::atomic<uint64_t> pending_{0};              // the last deferred change of this object, see GoferJournal
  std::atomic<uint64_t> pending_attributes_{0};   // the last one of times or mode
  std::atomic<bool> unwritten_{false};            // prepared, and neither written to nor stamped
  std::optional<FileTime> born_ GUARDED_BY(mu_);  // what is shown as the birth time of a file that was prepared
  std::atomic<int> no_capabilities_{0};           // errno of the last look for file capabilities; 0: to be asked for
  Mutex append_mu_{LockRank::kInode};

  // Directories only.
  struct DirState {
    DirListingRef listing;                                 // complete, and kept so
    std::unordered_map<std::string, GoferInodeRef> ahead;  // answers nobody asked for yet; null = no such entry
    int64_t ahead_ns = 0;
    uint64_t version = 0;  // counts changes of names
    int misses = 0;
    bool large = false;   // not worth listing for the sake of negative answers
    bool proven = false;  // a change in it succeeded
    Placing placing = Placing::kUnknown;
  };
  mutable Mutex dir_mu_{LockRank::kLeaf};
  std::unique_ptr<DirState> dir_ GUARDED_BY(dir_mu_);
  DirState& dir() REQUIRES(dir_mu_);
};

}  // namespace sandbox
