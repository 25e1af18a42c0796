// The host calls of the server, each confined to one directory descriptor and one component: no call here follows a
// symbolic link, leaves the directory or opens a device.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/messages.h"

namespace sandbox::gofer {

// Opens `name` (one valid component) in `dir` with openat2 RESOLVE_BENEATH | NO_SYMLINKS | NO_MAGICLINKS.
// `flags` gets O_CLOEXEC | O_NOFOLLOW added.
Result<UniqueFd> OpenIn(BorrowedFd dir, const char* name, int flags, uint32_t mode = 0);

// Opens what an O_PATH descriptor refers to, with access of its own: no path is involved, so nothing can be swapped
// in between. Only for regular files and directories; the caller has checked the type.
Result<UniqueFd> Reopen(BorrowedFd path_fd, int flags);
// Reopen goes through /proc/self/fd, which must be looked up before the process loses sight of /proc.
Result<void> InitReopen();
// The descriptor InitReopen made; invalid before.
BorrowedFd ReopenDir();

// statx of `name` in `dir`; of `dir` itself when `name` is "". Does not follow links.
Result<FileAttr> StatIn(BorrowedFd dir, const char* name);
Result<std::string> ReadLinkIn(BorrowedFd dir, const char* name);

// True for file systems that are windows into the kernel (proc, sysfs, cgroup, …): never opened for a guest, whatever
// the mount table of the container's creator says. A descriptor on /proc/self/mem would give it our own memory.
Result<bool> IsKernelFileSystem(BorrowedFd fd);

}  // namespace sandbox::gofer
