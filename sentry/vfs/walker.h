// The state of one path walk (Linux: struct nameidata). Walk and WalkParent cover most callers; Open drives a Walker
// itself, because O_CREAT must look at the last component before it decides.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/walk.h"

namespace sandbox {

class Walker {
 public:
  // `base` must outlive the walker.
  Walker(Context& context, const WalkBase& base, uint64_t resolve);

  // What is found will be opened with these flags; see Inode::WalkPlan.
  void set_open_flags(int flags) { open_flags_ = flags; }

  // Takes the text: ENOENT when empty, EXDEV for an absolute path under RESOLVE_BENEATH. `path` must stay alive.
  Result<void> Begin(std::string_view path);

  // Walks all components but the last one, following symbolic links. Afterwards at() is the directory (or the object
  // itself when last() is empty: "/" or a magic link's target).
  Result<void> ToLast();
  std::string_view last() const { return last_; }
  bool trailing_slash() const { return trailing_slash_; }
  const Path& at() const { return at_; }
  Path TakeAt() { return std::move(at_); }

  // Looks `name` up in at(), with the search permission check; "." and ".." too. Mounts on the result are followed.
  // A missing entry is a Path with a negative dentry.
  Result<Path> Child(std::string_view name);
  bool IsSymlink(const Path& path);
  // Replaces the last component by the link's text (or jumps, leaving last() empty). Continue with ToLast.
  Result<void> Follow(const Path& link);

 private:
  Result<void> DotDot();
  Result<void> CrossMounts(Path& path);

  Context& context_;
  const Path& root_;
  const Path& start_;
  const uint64_t resolve_;
  Path at_;
  std::string buffer_;  // text of followed links and what came after them; `rest_` points into it or the caller's
  std::string_view rest_;
  std::string_view last_;
  bool trailing_slash_ = false;
  int links_ = 0;
  int open_flags_ = -1;
};

// The cached or looked-up entry `name` of a directory: positive or negative, never null. `name` is no dot name.
// The caller has checked that `directory` is one and may be searched.
Result<DentryRef> LookupChild(Context& context, const Path& directory, std::string_view name,
                              const Inode::WalkPlan& plan = {});
// The same with the directory's lock held by the caller.
Result<DentryRef> LookupChildLocked(Context& context, const Path& directory, std::string_view name,
                                    const Inode::WalkPlan& plan = {});

}  // namespace sandbox
