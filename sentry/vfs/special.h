// Special files: how the VFS opens what is no file system's own, fifos and device nodes (Linux: init_special_inode,
// chrdev_open). The implementations live above the VFS and register themselves at start-up.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "sentry/vfs/attr.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/path.h"

namespace sandbox {

// open(2) of a fifo's inode; may block. sentry/fs/pipe.
using FifoOpener = Result<FileRef> (*)(Context& context, const Path& path, int flags);
void SetFifoOpener(FifoOpener opener);

// open(2) of a device node. `rdev` is makedev() encoded.
using DeviceOpener = Result<FileRef> (*)(Context& context, const Path& path, uint64_t rdev, int flags);
// Claims the minors [first_minor, first_minor + count) of a major for S_IFCHR or S_IFBLK nodes.
void RegisterDevice(uint32_t type, uint32_t major, uint32_t first_minor, uint32_t count, DeviceOpener opener);

// Opens `path`, whose attributes say that it is a fifo, a device or a socket. ENXIO for sockets and devices nobody
// registered.
Result<FileRef> OpenSpecial(Context& context, const Path& path, const Attr& attr, int flags);

// Inode numbers of objects without a file system (pipes, sockets, eventfds), unique in the sandbox.
uint64_t NextAnonymousIno();

}  // namespace sandbox
