// Transfers on open files: file position, blocking, EINTR and restart, limits (Linux: fs/read_write.c). The one place
// where the contract of FileDescription ("never block, say EAGAIN") becomes read(2) and write(2).
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/file.h"

namespace sandbox {

// RWF_NOAPPEND, which the C library's headers may not know: writes where it says, whatever O_APPEND says.
inline constexpr int kRwfNoAppend = 0x20;

// read(2), readv(2). EBADF when not open for reading; kErestartsys when a signal ended the wait before any byte.
Result<size_t> ReadFile(Context& context, FileDescription& file, IoSequence& to, int rwf = 0);
// write(2), writev(2). A stream that blocks is written until everything is taken; SIGPIPE is the implementation's.
Result<size_t> WriteFile(Context& context, FileDescription& file, IoSequence& from, int rwf = 0);
// pread(2), pwrite(2) and the vector forms: ESPIPE unless seekable, EINVAL for a negative offset.
Result<size_t> ReadFileAt(Context& context, FileDescription& file, IoSequence& to, int64_t offset, int rwf = 0);
Result<size_t> WriteFileAt(Context& context, FileDescription& file, IoSequence& from, int64_t offset, int rwf = 0);
// lseek(2): the new position.
Result<int64_t> SeekFile(Context& context, FileDescription& file, int64_t offset, int whence);
// getdents(2): advances the position.
Result<void> ReadDirectory(Context& context, FileDescription& file, DirSink& sink);

// For file systems, in Write: cuts `count` to RLIMIT_FSIZE and INT64_MAX. EFBIG with SIGXFSZ when nothing is left.
Result<size_t> CheckFileSize(Context& context, int64_t offset, size_t count);

// Whether a read should update the access time now (noatime, relatime, O_NOATIME).
bool WantsAccessTime(const FileDescription& file, const Attr& attr, const FileTime& now);

}  // namespace sandbox
