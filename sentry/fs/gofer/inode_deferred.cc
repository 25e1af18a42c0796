// Changes that are left to the gofer (docs/FILES.md, "Deferred changes"): the guest goes on at once, and the gofer
// makes them in order. Only what is certain to succeed, short of the host's own failure: nobody else changes an
// exclusive tree, so names are what the sentry knows them to be; that the directory can be written a change before has
// shown; and that there is room, one within the last moments. Everything else is waited for.

#include <linux/stat.h>
#include <sys/stat.h>

#include <ctime>

#include "sentry/fs/gofer/inode.h"

namespace sandbox {

using gofer::SetAttrRequest;

namespace {

// For how long what was seen of free space is relied on. Not more than some hundred changes are under way at a time.
constexpr int64_t kRoomNs = 50'000'000;
// Far from what any file system allows.
constexpr uint32_t kMaxLinks = 1000;
// Objects that refuse changes, or that something is mounted on.
constexpr uint64_t kRefuses = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_MOUNT_ROOT;

int64_t MonotonicNs() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace

FileTime GoferInode::HostNow() {
  timespec ts;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &ts);
  return {ts.tv_sec, static_cast<uint32_t>(ts.tv_nsec)};
}

bool GoferInode::ProvenDirectory(Takes takes) const {
  if (!tree_->exclusive() || tree_->read_only()) return false;
  {
    MutexLock lock(dir_mu_);
    if (dir_ == nullptr || !dir_->proven) return false;
  }
  if (takes == Takes::kRoom && MonotonicNs() - tree_->room_ns(dev_) > kRoomNs) return false;
  MutexLock lock(mu_);
  return (attr_.attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) == 0;
}

bool GoferInode::MayBeRemovedFrom(const GoferInode& dir) const {
  bool sticky;
  {
    MutexLock lock(dir.mu_);
    sticky = (dir.attr_.mode & S_ISVTX) != 0;
  }
  // In a sticky directory the owner counts, and a gofer without privileges owns what it made.
  if (dev_ != dir.dev_ || (sticky && !MadeHere())) return false;
  MutexLock lock(mu_);
  return (attr_.attributes & kRefuses) == 0;
}

// The next stat asks the gofer, who has made the change by then.
void GoferInode::ChangesLater(uint64_t number) {
  {
    MutexLock lock(mu_);
    const FileTime now = HostNow();
    attr_.ctime_s = now.seconds;
    attr_.ctime_ns = now.nanoseconds;
  }
  pending_.store(number);
  MarkStale();
}

void GoferInode::DirectoryChangesLater(uint64_t number) {
  {
    MutexLock lock(mu_);
    const FileTime now = HostNow();
    attr_.mtime_s = now.seconds;
    attr_.mtime_ns = now.nanoseconds;
  }
  names_changed_.store(true);
  ChangesLater(number);
}

bool GoferInode::DeferSetAttr(const SetAttrRequest& request) {
  constexpr uint32_t kOwner = SetAttrRequest::kUid | SetAttrRequest::kGid;
  constexpr uint32_t kDeferred = kOwner | SetAttrRequest::kMode | SetAttrRequest::kAtime | SetAttrRequest::kMtime;
  if (!tree_->exclusive() || !MadeHere() || removed_.load() || (request.valid & ~kDeferred) != 0) return false;
  const bool mode = request.valid & SetAttrRequest::kMode;
  // Set-id bits may be refused in silence. A directory's mode decides what can be changed in it.
  if (mode && (type_ != S_IFREG || (request.mode & (S_ISUID | S_ISGID)) != 0)) return false;
  {
    MutexLock lock(mu_);
    if ((attr_.attributes & kRefuses) != 0) return false;
    // An owner that it has already, and no set-id bits to lose.
    if ((request.valid & kOwner) != 0 && (owner_ || (attr_.mode & (S_ISUID | S_ISGID)) != 0)) return false;
    if ((request.valid & SetAttrRequest::kUid) != 0 && request.uid != attr_.uid) return false;
    if ((request.valid & SetAttrRequest::kGid) != 0 && request.gid != attr_.gid) return false;
  }
  const uint64_t number = tree_->client().DeferSetAttr(handle()->value(), request);
  if (number == 0) return false;
  {
    MutexLock lock(mu_);
    if (mode) attr_.mode = type_ | (request.mode & 07777);
    if (request.valid & SetAttrRequest::kAtime) {
      attr_.atime_s = request.atime_s;
      attr_.atime_ns = request.atime_ns;
    }
    if (request.valid & SetAttrRequest::kMtime) {
      attr_.mtime_s = request.mtime_s;
      attr_.mtime_ns = request.mtime_ns;
    }
  }
  if (request.valid & SetAttrRequest::kMtime) unwritten_.store(false);
  pending_attributes_.store(number);
  ChangesLater(number);
  return true;
}

// Within one directory, as two places of one file system may lie on two mounts.
bool GoferInode::DeferLink(std::string_view name, GoferInode& target) {
  if (!ProvenDirectory(Takes::kRoom) || target.dev_ != dev_ || target.made_in_.load() != ino_) return false;
  if (target.type_ != S_IFREG || target.removed_.load()) return false;
  {
    MutexLock lock(target.mu_);
    if (target.attr_.nlink == 0 || target.attr_.nlink > kMaxLinks || (target.attr_.attributes & kRefuses) != 0)
      return false;
  }
  const GoferHandleRef target_handle = target.handle();
  const uint64_t number = tree_->client().DeferLink(handle()->value(), name, target_handle->value());
  if (number == 0) return false;
  {
    MutexLock lock(target.mu_);
    ++target.attr_.nlink;
  }
  target.ChangesLater(number);
  NameAdded(name, target);
  DirectoryChangesLater(number);
  return true;
}

// What was found there may lie in a lower layer of the host's overlayfs, and then its removal takes a whiteout.
bool GoferInode::DeferRemove(std::string_view name, GoferInode& victim, bool is_dir) {
  const Takes takes = victim.MadeHere() ? Takes::kNothing : Takes::kRoom;
  if (!ProvenDirectory(takes) || !victim.MayBeRemovedFrom(*this)) return false;
  if (is_dir) {
    const DirListingRef names = victim.CachedListing();
    if (names == nullptr || names->size() != 0) return false;  // the host knows whether it is empty
  }
  const GoferHandleRef kept = victim.InUse() ? victim.handle() : nullptr;
  const gofer::UnlinkRequest request{kept ? kept->value() : 0, is_dir ? 1u : 0u, 0};
  const uint64_t number = tree_->client().DeferUnlink(handle()->value(), name, request);
  if (number == 0) return false;
  victim.LoseName(is_dir);
  victim.ChangesLater(number);
  NameRemoved(name);
  DirectoryChangesLater(number);
  return true;
}

// Only of what was made here: overlayfs would copy a file of a lower layer, and refuses to rename such a directory.
bool GoferInode::DeferRename(std::string_view old_name, GoferInode& object, GoferInode& target,
                             std::string_view new_name, GoferInode* replaced, unsigned flags) {
  if (&target != this || flags != 0 || !object.MadeHere()) return false;
  if (!ProvenDirectory(Takes::kRoom) || !object.MayBeRemovedFrom(*this)) return false;
  if (replaced != nullptr && (replaced == &object || replaced->type_ == S_IFDIR || !replaced->MayBeRemovedFrom(*this)))
    return false;
  const GoferHandleRef self = handle(), object_handle = object.handle();
  const GoferHandleRef kept = replaced != nullptr && replaced->InUse() ? replaced->handle() : nullptr;
  const gofer::RenameRequest request{self->value(), object_handle->value(), kept ? kept->value() : 0, 0, 0};
  const uint64_t number = tree_->client().DeferRename(self->value(), old_name, new_name, request);
  if (number == 0) return false;
  if (replaced != nullptr) {
    replaced->LoseName(false);
    replaced->ChangesLater(number);
  }
  NameRemoved(old_name);
  NameAdded(new_name, object);
  object.ChangesLater(number);
  DirectoryChangesLater(number);
  return true;
}

}  // namespace sandbox
