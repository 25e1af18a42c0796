// F_NOTIFY of fcntl(2): a signal when something happens in an open directory (Linux:
// fs/notify/dnotify).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "sentry/vfs/file.h"

namespace sandbox {

// Watches the directory `directory` is open on for `events` (DN_*) until DN_MULTISHOT is missing
// and one came, or the table `table` closes a descriptor of it. Adds to what it watches already.
// ENOTDIR.
Result<void> WatchDirectory(Context& context, const FileRef& directory, int fd, uint32_t events, const void* table);
// `table` closed a descriptor of `file`, or asked for no events any more.
void UnwatchDirectory(Inode& inode, const FileDescription& file, const void* table);

}  // namespace sandbox
