#include "sentry/fs/gofer/inode.h"

#include <fcntl.h>
#include <linux/xattr.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

#include "base/host_sys.h"
#include "sentry/fs/gofer/file.h"

namespace sandbox {

using gofer::FileAttr;
using gofer::SetAttrRequest;

namespace {

int64_t NowNs() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace

GoferInode::GoferInode(FileSystem& fs, GoferTreeRef tree, GoferEntry entry)
    : Inode(fs),
      tree_(std::move(tree)),
      dev_(entry.attr.dev),
      ino_(entry.attr.ino),
      type_(entry.attr.mode & S_IFMT),
      target_(std::move(entry.target)),
      handle_(std::move(entry.handle)),
      attr_(entry.attr),
      fetched_ns_(NowNs()),
      fetch_doubts_(tree_->client().doubts()),
      names_checked_ns_(fetched_ns_),
      names_doubts_(fetch_doubts_),
      names_times_(times()) {
  set_type(type_);
}

GoferInode::~GoferInode() {
  if (has_host_files_.load()) HostFileCache::Get().Drop(*this);
  tree_->Expired(*this);
}

GoferHandleRef GoferInode::handle() const {
  MutexLock lock(mu_);
  return handle_;
}

bool GoferInode::IsSameObject(const FileAttr& attr) const {
  if (removed_.load() || (attr.mode & S_IFMT) != type_) return false;
  MutexLock lock(mu_);
  return attr.btime_s == attr_.btime_s && attr.btime_ns == attr_.btime_ns;
}

void GoferInode::Update(GoferEntry entry) {
  GoferHandleRef old;  // forgotten after the lock is released
  MutexLock lock(mu_);
  // The newest name found is the one that is sure to exist.
  old = std::exchange(handle_, std::move(entry.handle));
  attr_ = entry.attr;
  fetched_ns_ = NowNs();
  fetch_doubts_ = tree_->client().doubts();
}

Attr GoferInode::ToAttr() const {
  Attr out;
  out.ino = tree_->GuestIno(dev_, ino_);
  out.mode = attr_.mode;
  out.nlink = attr_.nlink;
  out.uid = owner_ ? owner_->first : attr_.uid;
  out.gid = owner_ ? owner_->second : attr_.gid;
  out.rdev = attr_.rdev;
  out.size = attr_.size;
  out.blocks = attr_.blocks;
  out.blksize = attr_.blksize;
  out.atime = {attr_.atime_s, attr_.atime_ns};
  out.mtime = {attr_.mtime_s, attr_.mtime_ns};
  out.ctime = {attr_.ctime_s, attr_.ctime_ns};
  out.btime = born_.value_or(FileTime{attr_.btime_s, attr_.btime_ns});
  out.has_btime = attr_.has_btime != 0;
  out.attributes = attr_.attributes;
  out.attributes_mask = attr_.attributes_mask;
  return out;
}

Result<Attr> GoferInode::GetAttr(Context&) {
  bool refresh = stale_.load(std::memory_order_acquire) || writable_mappings_.load(std::memory_order_relaxed) > 0;
  {
    MutexLock lock(mu_);
    refresh = refresh || Doubtful();
    const bool old = has_host_files_.load() && tree_->exclusive() && NowNs() - fetched_ns_ > kLeaseNs;
    if (!refresh && !old) return ToAttr();
  }
  if (refresh || unwritten_.load()) {
    TRY(Refresh());
  } else if (const HostFileRef file = OpenHostFile()) {
    TRY(RefreshFrom(*file, BeginFetch()));  // costs next to nothing
  }
  MutexLock lock(mu_);
  return ToAttr();
}

bool GoferInode::Doubtful() const {
  if (!tree_->exclusive()) return NowNs() - fetched_ns_ > kSharedValidNs;
  return fetch_doubts_ != tree_->client().doubts();
}

// In an exclusive tree nobody but us changes owner and mode; what marks attributes stale are sizes and times.
Result<Attr> GoferInode::GetAccessAttr(Context& context) {
  {
    MutexLock lock(mu_);
    if (tree_->exclusive() && type_ == S_IFDIR && !Doubtful()) return ToAttr();
  }
  return GetAttr(context);
}

bool GoferInode::IsFresh() const {
  MutexLock lock(mu_);
  return NowNs() - fetched_ns_ <= kSharedValidNs;
}

// Fetches are numbered when they begin, so that a slow answer never replaces a newer one.
uint64_t GoferInode::BeginFetch() {
  stale_.store(false, std::memory_order_release);  // before the host is asked: a later write marks it again
  MutexLock lock(mu_);
  fetch_doubts_ = tree_->client().doubts();
  return ++fetches_;
}

void GoferInode::StoreAttr(const FileAttr& attr, uint64_t fetch) {
  MutexLock lock(mu_);
  if (fetch < stored_) return;
  stored_ = fetch;
  attr_ = attr;
  fetched_ns_ = NowNs();
}

Result<void> GoferInode::Refresh() {
  StampUnwritten();
  const uint64_t fetch = BeginFetch();
  if (const HostFileRef file = tree_->exclusive() ? OpenHostFile() : nullptr) return RefreshFrom(*file, fetch);
  auto attr = tree_->client().GetAttr(handle()->value());
  if (attr.ok()) StoreAttr(*attr, fetch);
  // An object whose last name we removed may be out of the gofer's reach; what we know is as good as it gets.
  else if (!removed_.load())
    return attr.error();
  return {};
}

// A donated descriptor that tells what the object is like; null when there is none, or when the gofer has yet to make
// changes that it would not show.
HostFileRef GoferInode::OpenHostFile() const {
  if (!has_host_files_.load() || pending_.load() > journal().done()) return nullptr;
  for (const int access : {O_RDWR, O_RDONLY, O_WRONLY}) {
    if (auto file = HostFileCache::Get().Find(*this, access)) return file;
  }
  return nullptr;
}

Result<void> GoferInode::RefreshFrom(const HostFile& file, uint64_t fetch) {
  const struct stat st = TRY(host::Stat(file.fd.borrow()));
  FileAttr attr;
  {
    MutexLock lock(mu_);
    // What fstat does not report stays; so do the owners: in the sentry's user namespace the host's ids have no names,
    // and fstat would say nobody. They change only by our own chown, or are fetched through the gofer.
    attr = attr_;
  }
  attr.size = static_cast<uint64_t>(st.st_size);
  attr.blocks = static_cast<uint64_t>(st.st_blocks);
  attr.mode = st.st_mode;
  attr.nlink = static_cast<uint32_t>(st.st_nlink);
  attr.atime_s = st.st_atim.tv_sec;
  attr.atime_ns = static_cast<uint32_t>(st.st_atim.tv_nsec);
  attr.mtime_s = st.st_mtim.tv_sec;
  attr.mtime_ns = static_cast<uint32_t>(st.st_mtim.tv_nsec);
  attr.ctime_s = st.st_ctim.tv_sec;
  attr.ctime_ns = static_cast<uint32_t>(st.st_ctim.tv_nsec);
  StoreAttr(attr, fetch);
  return {};
}

void GoferInode::NoteRead() {
  if (tree_->read_only()) return;  // opened with O_NOATIME
  MutexLock lock(mu_);
  const auto later = [](int64_t s, uint32_t ns, int64_t than_s, uint32_t than_ns) {
    return s > than_s || (s == than_s && ns > than_ns);
  };
  if (!later(attr_.atime_s, attr_.atime_ns, attr_.mtime_s, attr_.mtime_ns) ||
      !later(attr_.atime_s, attr_.atime_ns, attr_.ctime_s, attr_.ctime_ns))
    stale_.store(true, std::memory_order_release);
}

void GoferInode::KeepOwner(uint32_t uid, uint32_t gid) {
  MutexLock lock(mu_);
  if (attr_.uid == uid && attr_.gid == gid) return owner_.reset();
  owner_ = {uid, gid};
}

void GoferInode::SettleAttributes() {
  if (pending_attributes_.load() > journal().done()) tree_->client().Settle();
}

Result<void> GoferInode::SetSize(uint64_t size) {
  SettleAttributes();
  NoteWrite();
  auto file = HostFileFor(O_WRONLY);
  if (file.ok()) {
    TRY(host::Truncate((*file)->fd.borrow(), size));
    MarkStale();
    return {};
  }
  SetAttrRequest request{};
  request.valid = SetAttrRequest::kSize;
  request.size = size;
  return SetAttrRemote(request);
}

Result<void> GoferInode::SetAttrRemote(const SetAttrRequest& request) {
  if (request.valid & SetAttrRequest::kMtime) NoteWrite();
  const uint64_t fetch = BeginFetch();
  StoreAttr(TRY(tree_->client().SetAttr(handle()->value(), request)), fetch);
  return {};
}

Result<void> GoferInode::SetAttr(Context&, const AttrChange& change) {
  if (change.size) {
    if (*change.size > INT64_MAX) return Err(EFBIG);
    TRY(SetSize(*change.size));
  }
  SetAttrRequest request{};
  const auto set = [&](auto& field, const auto& value, uint32_t bit) {
    if (!value) return;
    field = *value;
    request.valid |= bit;
  };
  set(request.mode, change.mode, SetAttrRequest::kMode);
  set(request.uid, change.uid, SetAttrRequest::kUid);
  set(request.gid, change.gid, SetAttrRequest::kGid);
  if (change.atime) {
    request.valid |= SetAttrRequest::kAtime;
    request.atime_s = change.atime->seconds;
    request.atime_ns = change.atime->nanoseconds;
  }
  if (change.mtime) {
    request.valid |= SetAttrRequest::kMtime;
    request.mtime_s = change.mtime->seconds;
    request.mtime_ns = change.mtime->nanoseconds;
  }
  if (request.valid == 0 || DeferSetAttr(request)) return {};
  constexpr uint32_t kOwner = SetAttrRequest::kUid | SetAttrRequest::kGid;
  if (type_ == S_IFDIR) {
    // It may have become one that the gofer cannot write.
    MutexLock lock(dir_mu_);
    dir().proven = false;
  }
  auto done = SetAttrRemote(request);
  if ((done.Is(EPERM) || done.Is(EINVAL)) && request.valid & kOwner) {
    // The gofer runs without CAP_CHOWN, or in a user namespace that does not map the id (EINVAL): the sentry remembers
    // the owner, the host keeps its own.
    request.valid &= ~kOwner;
    if (request.valid != 0) TRY(SetAttrRemote(request));
    const Attr now = [&] {
      MutexLock lock(mu_);
      return ToAttr();
    }();
    KeepOwner(change.uid.value_or(now.uid), change.gid.value_or(now.gid));
    return {};
  }
  if (done.ok() && request.valid & kOwner) {
    MutexLock lock(mu_);
    owner_.reset();
  }
  return done;
}

Result<std::string> GoferInode::ReadLink(Context&) {
  if (type_ != S_IFLNK) return Err(EINVAL);
  // A link's text never changes: another text is another object.
  if (!target_.empty()) return target_;
  return tree_->client().ReadLink(handle()->value());
}

Result<HostFileRef> GoferInode::HostFileExact(int access) {
  if (has_host_files_.load()) {
    if (auto file = HostFileCache::Get().Find(*this, access)) return file;
  }
  const uint64_t fetch = BeginFetch();
  const uint32_t flags = static_cast<uint32_t>(access) | (tree_->read_only() ? O_NOATIME : 0);
  auto [fd, attr] = TRY(tree_->client().Open(handle()->value(), flags));
  StoreAttr(attr, fetch);
  return AddHostFile(std::move(fd), access);
}

HostFileRef GoferInode::AddHostFile(UniqueFd fd, int access) {
  auto file = MakeRef<HostFile>(std::move(fd), access);
  has_host_files_.store(true);
  HostFileCache::Get().Insert(*this, file);
  return file;
}

Result<HostFileRef> GoferInode::HostFileFor(int access) {
  if (has_host_files_.load()) {
    for (const int candidate : {access, O_RDWR}) {
      if (auto file = HostFileCache::Get().Find(*this, candidate)) return file;
    }
  }
  if (access == O_RDONLY) return HostFileExact(O_RDONLY);
  // Read and write in one descriptor serves every later open for writing, too.
  auto file = HostFileExact(O_RDWR);
  if (!file.ok() && access == O_WRONLY) return HostFileExact(O_WRONLY);
  return file;
}

void GoferInode::OpenCount(int delta) {
  const int now = open_count_.fetch_add(delta) + delta;
  if (now == 0) StampUnwritten();
  // The space of a deleted file is free when its last user is gone, as the guest expects.
  if (now == 0 && removed_.load()) HostFileCache::Get().Drop(*this);
}

Result<FileRef> GoferInode::Open(Context& context, const Path& path, int flags) {
  if (type_ == S_IFDIR)
    return FileRef(MakeRef<GoferDirFile>(path, flags, std::static_pointer_cast<GoferInode>(shared_from_this())));
  if (type_ != S_IFREG) return Inode::Open(context, path, flags);  // a device node names the sentry's own device
  HostFileRef file = TRY(HostFileFor(flags & O_ACCMODE));
  return FileRef(
      MakeRef<GoferFile>(path, flags, std::static_pointer_cast<GoferInode>(shared_from_this()), std::move(file)));
}

// Every exec asks for file capabilities, and hardly any file has them.
Result<std::string> GoferInode::GetXattr(Context&, std::string_view name) {
  const bool remember = tree_->exclusive() && name == XATTR_NAME_CAPS;
  if (const int known = remember ? no_capabilities_.load() : 0; known != 0) return Err(known);
  auto value = tree_->client().GetXattr(handle()->value(), name);
  if (remember && (value.Is(ENODATA) || value.Is(EOPNOTSUPP))) no_capabilities_.store(value.error().value());
  return value;
}
Result<void> GoferInode::SetXattr(Context&, std::string_view name, std::string_view value, int flags) {
  MarkStale();  // ctime; ACLs change the mode
  auto result = tree_->client().SetXattr(handle()->value(), name, value, flags);
  no_capabilities_.store(0);
  if (type_ == S_IFDIR) SetPlacing(Placing::kUnknown);
  return result;
}
Result<std::vector<std::string>> GoferInode::ListXattr(Context&) {
  return tree_->client().ListXattr(handle()->value());
}
Result<void> GoferInode::RemoveXattr(Context&, std::string_view name) {
  MarkStale();
  return tree_->client().RemoveXattr(handle()->value(), name);
}

}  // namespace sandbox
