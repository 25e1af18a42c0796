// Path resolution (path_resolution(7), openat2(2)).
#pragma once

#include <string_view>

#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/mount.h"

namespace sandbox {

// Who resolves: the caller's root, namespace, and where a relative path starts.
struct WalkBase {
  Path root;
  Path start;
};

struct WalkOptions {
  bool follow_last = true;   // the final symbolic link
  bool allow_empty = false;  // AT_EMPTY_PATH: "" names the start
  bool require_dir = false;  // O_DIRECTORY and friends: ENOTDIR otherwise
  uint64_t resolve = 0;      // RESOLVE_* of openat2
  int open_flags = -1;       // what is found will be opened with these flags (Inode::WalkPlan)
};

// The object at `path`. Errors as path_resolution(7): ENOENT, ENOTDIR, EACCES, ELOOP (40 links), ENAMETOOLONG
// (component over NAME_MAX, path over PATH_MAX), EXDEV for RESOLVE_BENEATH/NO_XDEV.
Result<Path> Walk(Context& context, const WalkBase& base, std::string_view path, const WalkOptions& options);

// The directory that holds the last component, for the create/remove/rename family. `last` is never empty except for
// the root itself ("/": EBUSY or EEXIST by caller); it may be "." or "..". `trailing_slash` says whether one followed.
struct ParentWalk {
  Path parent;
  std::string last;
  bool trailing_slash = false;
};
Result<ParentWalk> WalkParent(Context& context, const WalkBase& base, std::string_view path, uint64_t resolve = 0);

}  // namespace sandbox
