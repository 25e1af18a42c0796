// The mount option tmpcopyup: a tmpfs starts with what the folder it hides has.
#pragma once

#include "base/result.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/path.h"

namespace sandbox::boot {

// Copies everything below `from` into the empty folder `to`, with owners and modes. ELOOP for a tree deeper than any
// that programs make.
Result<void> CopyTree(const Path& from, const InodeRef& to);

}  // namespace sandbox::boot
