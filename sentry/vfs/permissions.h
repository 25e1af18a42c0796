// Checks that the namespace operations share (Linux: may_create, may_delete, inode_init_owner in fs/namei.c).
#pragma once

#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/walk.h"

namespace sandbox {

// All need the directory's lock. New entries in `directory`: ENOENT when it was removed, EACCES.
Result<void> MayCreate(Context& context, const Dentry& directory);
// Removal of `victim`: EACCES, EPERM for sticky directories, ENOTDIR or EISDIR by `as_directory`, EBUSY for mount
// points.
Result<void> MayDelete(Context& context, const Dentry& directory, const Dentry& victim, bool as_directory);
// The checks and the creation of one entry after its lookup said "no such entry": EROFS, EACCES. Fills in owner and
// inherited set-group-id. Reports IN_CREATE.
Result<DentryRef> CreateEntry(Context& context, const Path& directory, std::string_view name, CreateArgs args);
// Owner and mode of an object made in a directory with attributes `directory`.
void InheritOwner(const Credentials& creds, const Attr& directory, CreateArgs& args);

inline bool IsDotName(std::string_view name) { return name.empty() || name == "." || name == ".."; }

}  // namespace sandbox
