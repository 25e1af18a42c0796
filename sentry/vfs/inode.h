// Inode: an object of a file system (Linux: struct inode with its operations). File systems derive
// from it and override what they support; the defaults fail as Linux does for objects without that
// operation.
//
// Who checks what: the VFS (path walk and the namespace operations in vfs/operations.h) checks
// permissions, sticky bits, read-only mounts, name lengths, existence (for the create family),
// emptiness is checked by the file system, type rules (EISDIR, ENOTDIR) by the VFS. A file system
// may rely on it, except that a shared host directory can change at any time: it reports what the
// host says.
//
// Locking: the VFS calls the directory operations of one directory with that directory's lock held
// (Dentry), and a rename with both. Attribute and data operations may run concurrently; the inode
// guards its own state.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/attr.h"

namespace sandbox {

class Dentry;
class FileDescription;
class FileSystem;
class Inode;
class InotifyWatches;
class Leases;
class RecordLocks;
struct Path;

using InodeRef = RefPtr<Inode>;
using FileRef = RefPtr<FileDescription>;

// One mounted file system instance (Linux: struct super_block).
class FileSystem : public RefFromThis<FileSystem> {
 public:
  virtual ~FileSystem() = default;
  virtual std::string_view type_name() const = 0;  // as in /proc/filesystems: "tmpfs", "proc"
  virtual InodeRef root() = 0;
  virtual Result<FsStat> StatFs(Context& context) = 0;
  virtual Result<void> Sync(Context&) { return {}; }
  // Extra options for the mount line in /proc/mounts, for example "size=64k,mode=1777"; empty =
  // none.
  virtual std::string MountOptions() const { return {}; }
  // What the root is called in the file system that it is a part of, for a tree bound from the host
  // (proc_pid_mountinfo(5), field 4); empty = it is a whole one.
  virtual std::string_view origin() const { return {}; }
  // False when something outside the sentry may change the tree: cached dentries are then
  // revalidated.
  virtual bool exclusive() const { return true; }
  uint64_t device() const { return device_; }  // st_dev, allocated per instance

  // For the VFS: the one dentry of root(), and the lock that makes renames between directories see
  // a stable tree (Linux: s_root, s_vfs_rename_mutex).
  RefPtr<Dentry> root_dentry();
  Mutex& rename_lock() { return rename_mu_; }
  std::atomic<int> mount_count{0};

 protected:
  FileSystem();

 private:
  const uint64_t device_;
  Mutex rename_mu_{LockRank::kRename};
  Mutex root_mu_{LockRank::kLeaf};
  WeakRef<Dentry> root_dentry_ GUARDED_BY(root_mu_);
};

// Type and permission of an object to be created. `mode` has been masked by the umask.
struct CreateArgs {
  uint32_t mode = 0;   // S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR, S_IFLNK with permission bits
  uint64_t rdev = 0;   // device nodes
  std::string target;  // S_IFLNK
  uint32_t uid = 0, gid = 0;
  bool linkable = true;  // CreateUnlinked without O_EXCL: linkat may give it a name later
};

class Inode : public RefFromThis<Inode> {
 public:
  explicit Inode(FileSystem& fs) : fs_(fs.weak_from_this()), device_(fs.device()) {}
  virtual ~Inode();
  Inode(const Inode&) = delete;

  // The file system; alive as long as a mount or an open file of it is.
  RefPtr<FileSystem> fs() const { return fs_.lock(); }
  uint64_t device() const { return device_; }

  // S_IFMT bits. They never change, so they are asked once; 0 when the file system cannot tell (a
  // GetAttr error).
  uint32_t Type(Context& context) {
    const uint32_t type = type_.load(std::memory_order_relaxed);
    return type != 0 ? type : FetchType(context);
  }
  bool IsDir(Context& context) { return Type(context) == S_IFDIR; }

  // --- Attributes. `GetAttr` must be cheap: it is on every permission check. ---
  virtual Result<Attr> GetAttr(Context& context) = 0;
  // Owner and mode, for permission checks; the rest may be older. Default: GetAttr.
  virtual Result<Attr> GetAccessAttr(Context& context) { return GetAttr(context); }
  // The file system applies all fields or none. Default EPERM.
  virtual Result<void> SetAttr(Context& context, const AttrChange& change);

  // --- Directories. Default ENOTDIR for non-directories. ---
  // ENOENT when there is no such entry. `name` is never "", "." or "..", and has no slash.
  virtual Result<InodeRef> Lookup(Context& context, std::string_view name);
  // `name` is about to be looked up here, and more will be asked after it: a file system that pays
  // for each question may answer all of them at once. Only advice; the lookups and the open follow
  // in any case.
  struct WalkPlan {
    std::string_view rest;  // components below `name`, as the path has them; may hold "." and ".."
    int open_flags = -1;    // the object at the end will be opened with these; -1 = it will not
  };
  virtual void WalkAhead(Context&, std::string_view /*name*/, const WalkPlan&) {}
  // Only on file systems that are not exclusive(): what `name`, cached as `cached`, means now;
  // `cached` itself while it is still right, ENOENT when it is gone. Called without the directory's
  // lock. Default: Lookup.
  virtual Result<InodeRef> Revalidate(Context& context, std::string_view name, const InodeRef& cached);
  // Only on exclusive() ones: a number that changes when names in this directory may mean something else for reasons
  // that the VFS does not know of. What was cached under another number is revalidated. CheckNames finds out whether
  // it has to change; it may ask the host.
  uint32_t names_version() const { return names_version_.load(std::memory_order_acquire); }
  virtual void CheckNames(Context&) {}
  // Makes an entry of any type; the VFS knows it does not exist (EEXIST is still possible on shared
  // trees).
  virtual Result<InodeRef> Create(Context& context, std::string_view name, const CreateArgs& args);
  virtual Result<void> Link(Context& context, std::string_view name, const InodeRef& target);
  virtual Result<void> Unlink(Context& context, std::string_view name, const InodeRef& victim);
  virtual Result<void> Rmdir(Context& context, std::string_view name, const InodeRef& victim);
  // `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT. `victim` is what new_name names
  // now, or null.
  virtual Result<void> Rename(Context& context, std::string_view old_name, const InodeRef& moved, Inode& new_dir,
                              std::string_view new_name, const InodeRef& victim, unsigned flags);
  // O_TMPFILE: an unlinked regular file in this directory's file system. Default EOPNOTSUPP.
  virtual Result<InodeRef> CreateUnlinked(Context& context, const CreateArgs& args);

  // --- Symbolic links. ---
  virtual Result<std::string> ReadLink(Context& context);  // default EINVAL
  // /proc's magic links: jumps to an object instead of walking text. Default: null path = walk
  // ReadLink's text. A link to an open file gives PathOfFile (anonymous.h), which also works for
  // pipes and the like.
  virtual Result<Path> Jump(Context& context);

  // --- Opening. The VFS has checked permission for `flags` (O_* of open(2)). `path` is where it
  // was found. O_TRUNC was already applied through SetAttr. Fifos and sockets are handled by the
  // VFS itself; the default opens device nodes through special.h and gives ENXIO for the rest.
  virtual Result<FileRef> Open(Context& context, const Path& path, int flags);

  // --- Extended attributes. Defaults EOPNOTSUPP. `name` includes its namespace prefix. ---
  virtual Result<std::string> GetXattr(Context& context, std::string_view name);
  virtual Result<void> SetXattr(Context& context, std::string_view name, std::string_view value, int flags);
  virtual Result<std::vector<std::string>> ListXattr(Context& context);
  virtual Result<void> RemoveXattr(Context& context, std::string_view name);

  // Permission override for odd file systems (proc). `mask`: R_OK|W_OK|X_OK. The default is
  // generic_permission over GetAttr and the caller's fsuid/fsgid/groups/capabilities. EACCES when
  // denied.
  virtual Result<void> CheckAccess(Context& context, int mask);

  // State attached on demand by the VFS: record and flock locks, inotify watches, the bound unix
  // socket, the fifo.
  RecordLocks& locks();
  RecordLocks* locks_or_null() const { return locks_.load(std::memory_order_acquire); }
  Leases& leases();
  Leases* leases_or_null() const { return leases_.load(std::memory_order_acquire); }
  InotifyWatches* watches_or_null() const { return watches_.load(std::memory_order_acquire); }
  InotifyWatches& watches();
  // A unix socket bound to this inode (sentry/socket/unix) or a fifo's pipe (sentry/fs/pipe).
  RefPtr<void> attachment() const;
  void set_attachment(RefPtr<void> object);
  // Sets `object` unless there is one already; returns what is attached then.
  RefPtr<void> attach_if_absent(RefPtr<void> object);

  // Open-for-write and being-executed exclude each other (Linux: i_writecount). ETXTBSY when the
  // other side holds.
  Result<void> AcquireWrite();
  void ReleaseWrite() { write_count_.fetch_sub(1, std::memory_order_relaxed); }
  Result<void> DenyWrite();
  void AllowWrite() { write_count_.fetch_add(1, std::memory_order_relaxed); }
  bool HasWriters() const { return writers() > 0; }
  int writers() const { return write_count_.load(std::memory_order_relaxed); }
  // Descriptions open for reading only (Linux: i_readcount).
  void AddReader() { read_count_.fetch_add(1, std::memory_order_relaxed); }
  void RemoveReader() { read_count_.fetch_sub(1, std::memory_order_relaxed); }
  int readers() const { return read_count_.load(std::memory_order_relaxed); }

  // F_SET_RW_HINT: how long what is written will live, RWH_WRITE_LIFE_*. Kept and reported.
  std::atomic<uint8_t> write_hint{0};

 protected:
  // For file systems that know it when they make the inode.
  void set_type(uint32_t mode) { type_.store(mode & S_IFMT, std::memory_order_relaxed); }
  void ChangeNamesVersion() { names_version_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  uint32_t FetchType(Context& context);

  const WeakRef<FileSystem> fs_;
  const uint64_t device_;
  std::atomic<uint32_t> type_{0};
  std::atomic<uint32_t> names_version_{0};
  std::atomic<int> write_count_{0};  // > 0 writers, < 0 executions
  std::atomic<int> read_count_{0};
  std::atomic<RecordLocks*> locks_{nullptr};
  std::atomic<Leases*> leases_{nullptr};
  std::atomic<InotifyWatches*> watches_{nullptr};
  mutable Mutex attachment_mu_{LockRank::kLeaf};
  RefPtr<void> attachment_ GUARDED_BY(attachment_mu_);
};

// Linux's generic_permission for `attr`: R_OK|W_OK|X_OK against the fsuid, the groups and the
// capabilities.
Result<void> CheckMode(const Credentials& creds, const Attr& attr, int mask);
// Owner of the object, or CAP_FOWNER (Linux: inode_owner_or_capable).
bool IsOwnerOrCapable(const Credentials& creds, const Attr& attr);

}  // namespace sandbox
