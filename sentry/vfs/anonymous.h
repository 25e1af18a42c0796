// Objects without a place in a mount tree: pipes, sockets, eventfds, memory files (Linux: anon_inodefs, pipefs,
// sockfs and the internal tmpfs mount).
#pragma once

#include <string>

#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/path.h"

namespace sandbox {

// A path with no mount whose text is "/" and `name`, marked deleted: what memfd_create(2) files carry.
Path AnonymousPath(std::string name, InodeRef inode);

// The path of an open file, also when it has none of its own: then an inode stands in that asks the description for
// attributes (FileDescription::GetAttr) and opens it again (FileDescription::Reopen).
Path PathOfFile(const FileRef& file);

// st_dev of objects without a file system: what fstat on the descriptor and stat through /proc/self/fd both say.
uint64_t AnonymousDevice();

}  // namespace sandbox
