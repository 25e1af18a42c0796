// Directory operations of GoferInode.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <ctime>

#include "sentry/fs/gofer/inode.h"

namespace sandbox {

using gofer::FileAttr;

namespace {

// A directory with more names than this is listed for readers only, not to answer lookups.
constexpr size_t kMaxCachedNames = 16384;
constexpr size_t kMaxAhead = 256;

uint8_t DirentType(uint32_t mode_type) { return static_cast<uint8_t>(mode_type >> 12); }

int64_t MonotonicNs() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace

GoferInode::DirState& GoferInode::dir() {
  if (dir_ == nullptr) dir_ = std::make_unique<DirState>();
  return *dir_;
}

DirListingRef GoferInode::CachedListing() const {
  MutexLock lock(dir_mu_);
  return dir_ == nullptr ? nullptr : dir_->listing;
}

std::optional<GoferInodeRef> GoferInode::TakeAhead(std::string_view name) {
  MutexLock lock(dir_mu_);
  if (dir_ == nullptr || dir_->ahead.empty()) return std::nullopt;
  if (!tree_->exclusive() && MonotonicNs() - dir_->ahead_ns > kAheadValidNs) {
    dir_->ahead.clear();
    return std::nullopt;
  }
  auto node = dir_->ahead.extract(std::string(name));
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

void GoferInode::PutAhead(std::string_view name, GoferInodeRef inode) {
  if (inode == nullptr && !tree_->exclusive()) return;
  std::unordered_map<std::string, GoferInodeRef> dropped;  // inodes die after the lock is released
  MutexLock lock(dir_mu_);
  DirState& state = dir();
  if (state.ahead.size() >= kMaxAhead) dropped.swap(state.ahead);
  state.ahead[std::string(name)] = std::move(inode);
  state.ahead_ns = MonotonicNs();
}

Result<InodeRef> GoferInode::Lookup(Context&, std::string_view name) {
  if (type_ != S_IFDIR) return Err(ENOTDIR);
  if (!gofer::ValidName(name)) return Err(ENOENT);
  if (auto known = TakeAhead(name)) {
    if (*known == nullptr) return Err(ENOENT);
    return InodeRef(std::move(*known));
  }
  if (DirListingRef listing = CachedListing()) {
    if (!listing->Contains(name)) return Err(ENOENT);
    return LookupWindow(name, *listing);
  }
  auto found = LookupOne(name);
  if (found.Is(ENOENT)) NoteMiss();
  return found;
}

Result<InodeRef> GoferInode::LookupOne(std::string_view name) {
  auto walk = TRY(tree_->client().Walk(handle()->value(), {&name, 1}, std::nullopt));
  if (walk.entries.empty()) return Err(walk.error != 0 ? walk.error : EIO);
  return InodeRef(TRY(Adopt(std::move(walk.entries[0]))));
}

Result<GoferInodeRef> GoferInode::Adopt(GoferEntry entry) {
  const RefPtr<FileSystem> owner = fs();
  if (owner == nullptr) return Err(ESTALE);  // unmounted, and only a stray reference leads here
  return tree_->Intern(*owner, std::move(entry));
}

// A program that looks at the entries of a directory one by one gets many of them with one round trip.
Result<InodeRef> GoferInode::LookupWindow(std::string_view name, DirListing& listing) {
  const std::vector<std::string> window = listing.LookupWindow(name);
  if (window.size() == 1) return LookupOne(name);
  const std::vector<std::string_view> names(window.begin(), window.end());
  auto found = TRY(tree_->client().LookupMany(handle()->value(), names));
  if (found.empty()) return Err(EIO);
  for (size_t i = 1; i < found.size(); ++i) {
    if (found[i].error == 0) PutAhead(names[i], TRY(Adopt(std::move(found[i].entry))));
  }
  if (found[0].error != 0) return Err(found[0].error);
  return InodeRef(TRY(Adopt(std::move(found[0].entry))));
}

// The second name that is not there makes the whole listing worth having: search paths (PATH, Python's sys.path,
// include directories) ask for many.
void GoferInode::NoteMiss() {
  if (!tree_->exclusive()) return;
  {
    MutexLock lock(dir_mu_);
    if (dir().large || ++dir().misses < 2) return;
  }
  (void)LoadListing(true).ok();
}

Result<DirListingRef> GoferInode::LoadListing(bool first_batch_only) {
  uint64_t version;
  {
    MutexLock lock(dir_mu_);
    version = dir().version;
  }
  auto listing = MakeRef<DirListing>();
  const GoferHandleRef self = handle();
  for (uint64_t position = 0;;) {
    auto batch = TRY(tree_->client().ReadDir(self->value(), position));
    for (GoferDirEntry& entry : batch.entries) entry.ino = tree_->GuestIno(dev_, entry.ino);
    listing->Append(std::move(batch.entries));
    if (batch.end) break;
    if (first_batch_only) {
      MutexLock lock(dir_mu_);
      dir().large = true;
      return Err(EAGAIN);
    }
    position = batch.next;
  }
  MutexLock lock(dir_mu_);
  // Names that changed while the listing was read may be missing from it: good for a reader, not for lookups.
  if (tree_->exclusive() && dir().version == version && listing->size() <= kMaxCachedNames) dir().listing = listing;
  return listing;
}

Result<DirListingRef> GoferInode::Listing() {
  if (DirListingRef listing = CachedListing(); listing != nullptr && !(listing->Sparse() && open_count_.load() <= 1))
    return listing;
  return LoadListing(false);
}

Result<InodeRef> GoferInode::Revalidate(Context& context, std::string_view name, const InodeRef& cached) {
  if (tree_->exclusive()) return Lookup(context, name);
  // Answered within the validity of attributes: the entry was found when they were.
  if (const auto known = std::dynamic_pointer_cast<GoferInode>(cached); known != nullptr && known->IsFresh())
    return cached;
  return Lookup(context, name);
}

// Engines put files into the root of a running container. A directory in which we changed nothing since the last look
// tells by its times; from another one the names are fetched anew.
void GoferInode::CheckNames(Context&) {
  if (!tree_->exclusive() || tree_->read_only()) return;
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
  const int64_t now = ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
  const uint32_t doubts = tree_->client().doubts();
  if (now - names_checked_ns_.load(std::memory_order_relaxed) < kLeaseNs &&
      names_doubts_.load(std::memory_order_relaxed) == doubts)
    return;
  names_checked_ns_.store(now, std::memory_order_relaxed);
  names_doubts_.store(doubts, std::memory_order_relaxed);
  bool changed = names_changed_.exchange(false);
  if (!Refresh().ok()) return;  // the lookup that follows reports it
  {
    MutexLock lock(mu_);
    changed = changed || times() != names_times_;
    names_times_ = times();
  }
  if (changed) ForgetNames();
}

void GoferInode::ForgetNames() {
  bool listed;
  std::unordered_map<std::string, GoferInodeRef> dropped;  // inodes die after the lock is released
  {
    MutexLock lock(dir_mu_);
    DirState& state = dir();
    ++state.version;
    listed = std::exchange(state.listing, nullptr) != nullptr;
    dropped.swap(state.ahead);
    state.misses = 0;
  }
  ChangeNamesVersion();
  if (listed) (void)LoadListing(true).ok();  // lookups then go by batches
}

bool GoferInode::Knows(std::string_view name) const {
  MutexLock lock(dir_mu_);
  if (dir_ == nullptr) return false;
  if (dir_->ahead.contains(std::string(name))) return true;
  return dir_->listing != nullptr && !dir_->listing->Contains(name);
}

namespace {

// The components of `path` up to the first that only an ordinary walk can take (".." and what cannot exist).
void SplitPath(std::string_view path, std::vector<std::string_view>& names) {
  while (!path.empty() && names.size() < gofer::kMaxWalk) {
    const size_t end = path.find('/');
    const std::string_view name = path.substr(0, end);
    if (!name.empty() && name != ".") {
      if (!gofer::ValidName(name)) return;
      names.push_back(name);
    }
    if (end == std::string_view::npos) return;
    path.remove_prefix(end + 1);
  }
}

}  // namespace

void GoferInode::WalkAhead(Context&, std::string_view name, const WalkPlan& plan) {
  if (!gofer::ValidName(name) || Knows(name)) return;
  std::vector<std::string_view> names = {name};
  SplitPath(plan.rest, names);
  std::optional<uint32_t> open_flags;
  if (plan.open_flags >= 0 && !(plan.open_flags & O_DIRECTORY)) {
    // As HostFileFor would ask: read and write in one descriptor serves every kind of writer.
    open_flags = (plan.open_flags & O_ACCMODE) == O_RDONLY ? O_RDONLY | (tree_->read_only() ? O_NOATIME : 0) : O_RDWR;
  }
  // One component is what Lookup does anyway, unless the open comes with it.
  if (names.size() == 1 && !open_flags) return;
  auto walk = tree_->client().Walk(handle()->value(), names, open_flags);
  if (!walk.ok()) return;  // the lookup that follows asks again and reports it
  auto at = std::static_pointer_cast<GoferInode>(shared_from_this());
  const size_t found = walk->entries.size();
  for (size_t i = 0; i < found; ++i) {
    auto child = Adopt(std::move(walk->entries[i]));
    if (!child.ok()) return;
    at->PutAhead(names[i], *child);
    at = std::move(*child);
  }
  if (found == names.size() && walk->fd.valid())
    at->AddHostFile(std::move(walk->fd), static_cast<int>(*open_flags & O_ACCMODE));
  if (walk->error == ENOENT && found < names.size() && at->type_ == S_IFDIR) {
    at->PutAhead(names[found], nullptr);
    at->NoteMiss();
  }
}

void GoferInode::NameAdded(std::string_view name, const GoferInode& inode) {
  MutexLock lock(dir_mu_);
  DirState& state = dir();
  ++state.version;
  state.ahead.erase(std::string(name));
  if (state.listing != nullptr)
    state.listing->Add(name, tree_->GuestIno(inode.dev_, inode.ino_), DirentType(inode.type_));
}

void GoferInode::NameRemoved(std::string_view name) {
  MutexLock lock(dir_mu_);
  DirState& state = dir();
  ++state.version;
  state.ahead.erase(std::string(name));
  if (state.listing != nullptr) state.listing->Remove(name);
}

void GoferInode::ChangeMade(const FileAttr& attr, bool room) {
  {
    MutexLock lock(dir_mu_);
    dir().proven = true;
  }
  if (room) tree_->NoteRoom(dev_);
  names_changed_.store(true);
  StoreAttr(attr, BeginFetch());
}

Result<InodeRef> GoferInode::Create(Context&, std::string_view name, const CreateArgs& args) {
  if (!gofer::ValidName(name)) return Err(ENAMETOOLONG);
  if (S_ISREG(args.mode)) {
    if (InodeRef made = CreatePrepared(name, args)) return made;
  }
  const gofer::CreateRequest request{args.rdev, args.mode, args.uid, args.gid, O_RDWR};
  auto created = TRY(tree_->client().Create(handle()->value(), name, request, args.target));
  GoferInodeRef inode = TRY(Adopt(std::move(created.entry)));
  inode->KeepOwner(args.uid, args.gid);
  if (created.fd.valid()) {
    inode->AddHostFile(std::move(created.fd), O_RDWR);
  }
  if (inode->type_ == S_IFDIR && tree_->exclusive()) {
    const Placing placing = GetPlacing();
    MutexLock lock(inode->dir_mu_);
    inode->dir().listing = MakeRef<DirListing>();  // empty, and we hear of every name that appears
    inode->dir().proven = true;                    // as its parent is
    inode->dir().placing = placing;                // nor does the host treat it otherwise
  }
  inode->made_in_.store(ino_);
  NameAdded(name, *inode);
  ChangeMade(created.dir, created.room);
  return InodeRef(std::move(inode));
}

Result<InodeRef> GoferInode::CreateUnlinked(Context&, const CreateArgs& args) {
  const gofer::CreateRequest request{0, args.mode, args.uid, args.gid, O_RDWR};
  auto created = TRY(tree_->client().Tmpfile(handle()->value(), request, 1));
  GoferUnnamed& made = created.files.front();
  GoferInodeRef inode = TRY(Adopt(std::move(made.entry)));
  inode->KeepOwner(args.uid, args.gid);
  inode->AddHostFile(std::move(made.fd), O_RDWR);
  return InodeRef(std::move(inode));
}

Result<void> GoferInode::Link(Context&, std::string_view name, const InodeRef& target) {
  const auto other = std::dynamic_pointer_cast<GoferInode>(target);
  if (other == nullptr || other->tree_ != tree_) return Err(EXDEV);
  if (DeferLink(name, *other)) return {};
  const uint64_t fetch = other->BeginFetch();
  const GoferHandleRef other_handle = other->handle();
  const auto linked = TRY(tree_->client().Link(handle()->value(), name, other_handle->value()));
  other->StoreAttr(linked.file, fetch);
  other->removed_.store(false);
  NameAdded(name, *other);
  ChangeMade(linked.dir, linked.room);
  return {};
}

bool GoferInode::InUse() const {
  // A directory may be somebody's working directory, and an object with several links will be found by another.
  MutexLock lock(mu_);
  return type_ == S_IFDIR || open_count_.load() > 0 || attr_.nlink > 1;
}

// One name less, by our own doing: no need to ask the host.
void GoferInode::LoseName(bool last) {
  bool gone;
  {
    MutexLock lock(mu_);
    const FileTime now = GoferInode::HostNow();
    attr_.ctime_s = now.seconds;
    attr_.ctime_ns = now.nanoseconds;
    if (attr_.nlink > 0) --attr_.nlink;
    if (last) attr_.nlink = 0;
    gone = attr_.nlink == 0;
  }
  if (!gone) return;
  removed_.store(true);
  tree_->Remove(*this);
  if (open_count_.load() == 0 && has_host_files_.load()) HostFileCache::Get().Drop(*this);
}

Result<void> GoferInode::Remove(std::string_view name, const InodeRef& victim, bool is_dir) {
  const auto gone = std::dynamic_pointer_cast<GoferInode>(victim);
  if (gone != nullptr && DeferRemove(name, *gone, is_dir)) return {};
  const bool pin = gone != nullptr && gone->InUse();
  const GoferHandleRef gone_handle = pin ? gone->handle() : nullptr;
  const gofer::UnlinkRequest request{pin ? gone_handle->value() : 0, is_dir ? 1u : 0u, 0};
  const auto done = TRY(tree_->client().Unlink(handle()->value(), name, request));
  if (gone != nullptr) gone->LoseName(is_dir);
  NameRemoved(name);
  ChangeMade(done.dir, done.room);
  return {};
}

Result<void> GoferInode::Unlink(Context&, std::string_view name, const InodeRef& victim) {
  return Remove(name, victim, false);
}

Result<void> GoferInode::Rmdir(Context&, std::string_view name, const InodeRef& victim) {
  return Remove(name, victim, true);
}

Result<void> GoferInode::Rename(Context&, std::string_view old_name, const InodeRef& moved, Inode& new_dir,
                                std::string_view new_name, const InodeRef& victim, unsigned flags) {
  auto* const target = dynamic_cast<GoferInode*>(&new_dir);
  const auto object = std::dynamic_pointer_cast<GoferInode>(moved);
  const auto replaced = std::dynamic_pointer_cast<GoferInode>(victim);
  if (target == nullptr || target->tree_ != tree_ || object == nullptr) return Err(EXDEV);
  if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) return Err(EINVAL);
  if (DeferRename(old_name, *object, *target, new_name, replaced.get(), flags)) return {};
  return RenameNow(old_name, *object, *target, new_name, replaced.get(), flags);
}

Result<void> GoferInode::RenameNow(std::string_view old_name, GoferInode& object, GoferInode& target,
                                   std::string_view new_name, GoferInode* replaced, unsigned flags) {
  const bool exchange = flags & RENAME_EXCHANGE;
  const GoferHandleRef target_handle = target.handle(), object_handle = object.handle();
  const GoferHandleRef replaced_handle =
      replaced != nullptr && (exchange || replaced->InUse()) ? replaced->handle() : nullptr;
  const gofer::RenameRequest request{target_handle->value(), object_handle->value(),
                                     replaced_handle ? replaced_handle->value() : 0, flags, 0};
  const auto done = TRY(tree_->client().Rename(handle()->value(), old_name, new_name, request));
  if (&object == replaced) return {};  // two names of one object: Linux does nothing
  if (exchange && replaced != nullptr) {
    NameAdded(old_name, *replaced);
    replaced->MarkStale();
  } else {
    if (replaced != nullptr) replaced->LoseName(replaced->type_ == S_IFDIR);
    NameRemoved(old_name);
  }
  ChangeMade(done.old_dir, done.room);
  target.NameAdded(new_name, object);
  target.ChangeMade(done.new_dir, done.room);
  object.MovedTo(target);
  if (exchange && replaced != nullptr) replaced->MovedTo(*this);
  return {};
}

void GoferInode::MovedTo(const GoferInode& dir) {
  if (MadeHere()) made_in_.store(dir.ino_);
  MutexLock lock(mu_);
  const FileTime now = GoferInode::HostNow();
  attr_.ctime_s = now.seconds;
  attr_.ctime_ns = now.nanoseconds;
}

}  // namespace sandbox
