#include "sentry/vfs/walk.h"

#include <linux/openat2.h>
#include <sys/mount.h>
#include <unistd.h>

#include <climits>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/walker.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

namespace sandbox {
namespace {

constexpr int kMaxLinks = 40;  // Linux: MAXSYMLINKS
constexpr size_t kMaxName = NAME_MAX;

// What the file system says `name` is, as a dentry put into the cache.
Result<DentryRef> AskFileSystem(Context& context, Dentry& directory, bool exclusive, std::string_view name,
                                const Inode::WalkPlan& plan) {
  if (directory.IsDeleted()) return MakeRef<Dentry>(directory.shared_from_this(), std::string(name), nullptr);
  if (!plan.rest.empty() || plan.open_flags >= 0) directory.inode()->WalkAhead(context, name, plan);
  const uint32_t version = directory.inode()->names_version();
  auto inode = directory.inode()->Lookup(context, name);
  if (!inode.ok() && !inode.Is(ENOENT)) return inode.error();
  if (inode.ok() || exclusive) {
    DentryRef child = directory.AddChild(name, inode.ok() ? std::move(*inode) : nullptr);
    child->names_version.store(version, std::memory_order_relaxed);  // as of the question
    return child;
  }
  // Nobody tells us when the name appears on a shared tree, so its absence is not remembered.
  return MakeRef<Dentry>(directory.shared_from_this(), std::string(name), nullptr);
}

// A cached entry of a shared tree, or one that is doubtful, is asked for again. Null: no longer right, look it up anew.
Result<DentryRef> RevalidateChild(Context& context, Dentry& directory, DentryRef cached, std::string_view name) {
  const uint32_t version = directory.inode()->names_version();
  auto now = directory.inode()->Revalidate(context, name, cached->inode());
  if (!now.ok() && !now.Is(ENOENT)) return now.error();
  const bool same = now.ok() ? *now == cached->inode() : cached->IsNegative();
  // A mount point stays.
  if (!same && cached->mounts_here.load(std::memory_order_relaxed) == 0) return DentryRef();
  cached->names_version.store(version, std::memory_order_relaxed);
  return cached;
}

bool IsCertain(const Dentry& directory, const Dentry& cached) {
  return cached.names_version.load(std::memory_order_relaxed) == directory.inode()->names_version();
}

}  // namespace

Result<DentryRef> LookupChildLocked(Context& context, const Path& directory, std::string_view name,
                                    const Inode::WalkPlan& plan) {
  Dentry& dir = *directory.dentry;
  const bool exclusive = directory.mount == nullptr || directory.mount->fs()->exclusive();
  if (exclusive) dir.inode()->CheckNames(context);
  if (DentryRef cached = dir.CachedChild(name); cached != nullptr) {
    if (exclusive && IsCertain(dir, *cached)) return cached;
    DentryRef valid = TRY(RevalidateChild(context, dir, cached, name));
    if (valid != nullptr) return valid;
    dir.RemoveChild(cached, false);
  }
  if (name.size() > kMaxName) return Err(ENAMETOOLONG);
  return AskFileSystem(context, dir, exclusive, name, plan);
}

Result<DentryRef> LookupChild(Context& context, const Path& directory, std::string_view name,
                              const Inode::WalkPlan& plan) {
  Dentry& dir = *directory.dentry;
  const bool exclusive = directory.mount == nullptr || directory.mount->fs()->exclusive();
  if (exclusive) dir.inode()->CheckNames(context);
  if (DentryRef cached = dir.CachedChild(name); cached != nullptr) {
    if (exclusive && IsCertain(dir, *cached)) return cached;
    DentryRef valid = TRY(RevalidateChild(context, dir, cached, name));
    if (valid != nullptr) return valid;
  }
  MutexLock lock(dir.lock());
  return LookupChildLocked(context, directory, name, plan);
}

Walker::Walker(Context& context, const WalkBase& base, uint64_t resolve)
    : context_(context),
      root_(resolve & RESOLVE_IN_ROOT ? base.start : base.root),
      start_(base.start),
      resolve_(resolve) {}

Result<void> Walker::Begin(std::string_view path) {
  if (path.empty()) return Err(ENOENT);
  if (path.size() >= PATH_MAX) return Err(ENAMETOOLONG);
  rest_ = path;
  if (path.front() != '/') {
    if (start_.empty()) return Err(ENOTDIR);  // a descriptor without a place in a tree: a pipe, a socket
    at_ = start_;
    return {};
  }
  if (resolve_ & RESOLVE_BENEATH) return Err(EXDEV);
  at_ = root_;  // wherever it starts from is no crossing
  return {};
}

Result<void> Walker::ToLast() {
  for (;;) {
    const size_t begin = rest_.find_first_not_of('/');
    if (begin == std::string_view::npos) {  // only slashes, or nothing after a jump
      last_ = {};
      return {};
    }
    rest_.remove_prefix(begin);
    const size_t end = std::min(rest_.find('/'), rest_.size());
    const std::string_view name = rest_.substr(0, end);
    const size_t next = rest_.find_first_not_of('/', end);
    if (next == std::string_view::npos) {
      last_ = name;
      trailing_slash_ = end < rest_.size();
      rest_ = {};
      return {};
    }
    rest_.remove_prefix(next);
    Path child = TRY(Child(name));
    if (child.dentry->IsNegative()) return Err(ENOENT);
    const uint32_t type = child.dentry->inode()->Type(context_);
    if (type == S_IFLNK) {
      last_ = {};
      TRY(Follow(child));
      continue;
    }
    if (type != S_IFDIR) return Err(ENOTDIR);
    at_ = std::move(child);
  }
}

Result<Path> Walker::Child(std::string_view name) {
  Inode& directory = *at_.dentry->inode();
  if (!directory.IsDir(context_)) return Err(ENOTDIR);
  TRY(directory.CheckAccess(context_, X_OK));
  if (name == ".") return at_;
  if (name == "..") {
    const Path here = at_;
    TRY(DotDot());
    return std::exchange(at_, here);
  }
  DentryRef found = TRY(LookupChild(context_, at_, name, {rest_, open_flags_}));
  Path child{at_.mount, std::move(found)};
  TRY(CrossMounts(child));
  return child;
}

// Linux: follow_dotdot.
Result<void> Walker::DotDot() {
  Path above = at_;
  for (;;) {
    if (above == root_) {
      if (resolve_ & RESOLVE_BENEATH) return Err(EXDEV);
      return {};
    }
    if ((resolve_ & RESOLVE_BENEATH) && above == start_) return Err(EXDEV);
    if (above.mount == nullptr || above.dentry != above.mount->root()) break;
    Path point = above.mount->point();
    if (point.empty()) return {};  // the top of the namespace, or of a detached mount
    if (resolve_ & RESOLVE_NO_XDEV) return Err(EXDEV);
    above = std::move(point);
  }
  if (DentryRef parent = above.dentry->parent(); parent != nullptr) above.dentry = std::move(parent);
  TRY(CrossMounts(above));
  at_ = std::move(above);
  return {};
}

Result<void> Walker::CrossMounts(Path& path) {
  if (path.dentry->mounts_here.load(std::memory_order_acquire) == 0) return {};
  const Mount* before = path.mount.get();
  TraverseMounts(path);
  if (path.mount.get() != before && (resolve_ & RESOLVE_NO_XDEV)) return Err(EXDEV);
  return {};
}

bool Walker::IsSymlink(const Path& path) {
  return !path.dentry->IsNegative() && path.dentry->inode()->Type(context_) == S_IFLNK;
}

Result<void> Walker::Follow(const Path& link) {
  if (++links_ > kMaxLinks || (resolve_ & RESOLVE_NO_SYMLINKS)) return Err(ELOOP);
  if (link.mount != nullptr && (link.mount->flags() & MS_NOSYMFOLLOW)) return Err(ELOOP);
  Inode& inode = *link.dentry->inode();
  Path target = TRY(inode.Jump(context_));
  if (!target.empty()) {
    if (resolve_ & RESOLVE_NO_MAGICLINKS) return Err(ELOOP);
    if (resolve_ & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) return Err(EXDEV);
    if ((resolve_ & RESOLVE_NO_XDEV) && target.mount != link.mount) return Err(EXDEV);
    at_ = std::move(target);
    if (!last_.empty() && trailing_slash_) rest_ = "/";  // keep the demand for a directory
    last_ = {};
    return {};
  }
  std::string text = TRY(inode.ReadLink(context_));
  if (text.empty()) return Err(ENOENT);
  if (text.front() == '/') {
    if (resolve_ & RESOLVE_BENEATH) return Err(EXDEV);
    if ((resolve_ & RESOLVE_NO_XDEV) && root_.mount != at_.mount) return Err(EXDEV);
    at_ = root_;
  }
  if (!rest_.empty()) {
    text += '/';
    text += rest_;
  } else if (!last_.empty() && trailing_slash_) {
    text += '/';
  }
  buffer_ = std::move(text);
  rest_ = buffer_;
  last_ = {};
  return {};
}

Result<Path> Walk(Context& context, const WalkBase& base, std::string_view path, const WalkOptions& options) {
  if (path.empty() && options.allow_empty) {
    if (base.start.empty()) return Err(ENOTDIR);
    return base.start;
  }
  Walker walker(context, base, options.resolve);
  walker.set_open_flags(options.open_flags);
  TRY(walker.Begin(path));
  bool need_dir = options.require_dir;
  for (;;) {
    TRY(walker.ToLast());
    Path found = walker.last().empty() ? walker.at() : TRY(walker.Child(walker.last()));
    if (found.dentry->IsNegative()) return Err(ENOENT);
    need_dir = need_dir || walker.trailing_slash();
    if (!walker.last().empty() && walker.IsSymlink(found) && (options.follow_last || walker.trailing_slash())) {
      TRY(walker.Follow(found));
      continue;
    }
    if (need_dir && !found.dentry->inode()->IsDir(context)) return Err(ENOTDIR);
    return found;
  }
}

Result<ParentWalk> WalkParent(Context& context, const WalkBase& base, std::string_view path, uint64_t resolve) {
  Walker walker(context, base, resolve);
  TRY(walker.Begin(path));
  TRY(walker.ToLast());
  ParentWalk result;
  result.last = std::string(walker.last());
  result.trailing_slash = walker.trailing_slash();
  result.parent = walker.TakeAt();
  if (!result.parent.dentry->inode()->IsDir(context)) return Err(ENOTDIR);
  if (!result.last.empty()) TRY(result.parent.dentry->inode()->CheckAccess(context, X_OK));
  return result;
}

}  // namespace sandbox
