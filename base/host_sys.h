// Host system calls as the rest of us make them: typed, answering Result instead of -1 and errno. One place to see what
// we ask of the host, next to the filter that allows it (runsc/hostfilter, platform/*/host_rules.h).
//
// Every function here that can wait starts again after EINTR: no signal that a handler of ours catches is meant for
// the caller of a host call (a guest's signals are the sentry's own objects, and never host signals). Errors are the
// host's errno, as the man page of the call named in each comment has them. Sizes are bytes.
#pragma once

#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox::host {

// --- Descriptors. All new ones are close-on-exec. ---

// openat(2). `path` is trusted: what names come from guests goes through the gofer's OpenIn.
Result<UniqueFd> OpenAt(BorrowedFd dir, const char* path, int flags, uint32_t mode = 0);
// fcntl(F_DUPFD_CLOEXEC), above the standard streams.
Result<UniqueFd> Duplicate(BorrowedFd fd);
// fcntl(F_GETFL): access mode and status flags.
Result<int> StatusFlags(BorrowedFd fd);
// fstat(2) by its own number: the C library's goes through newfstatat, which takes a path and so needs a wider filter.
Result<struct stat> Stat(BorrowedFd fd);
Result<struct statfs> StatFs(BorrowedFd fd);
// ioctl(2) with a pointer to whatever the request says.
Result<int> Control(BorrowedFd fd, unsigned long request, void* argument);
// poll(2) of one descriptor without waiting: the events that hold, 0 for none.
short PollNow(BorrowedFd fd, short events);

// --- Files. Counts may be short; 0 is the end. ---

Result<size_t> Read(BorrowedFd fd, void* to, size_t size);
Result<size_t> Write(BorrowedFd fd, const void* from, size_t size);
Result<size_t> ReadAt(BorrowedFd fd, void* to, size_t size, int64_t offset);
// pwritev2(2): `rwf` are RWF_*; RWF_APPEND ignores the offset.
Result<size_t> WriteAt(BorrowedFd fd, const void* from, size_t size, int64_t offset, int rwf = 0);
// preadv2 and pwritev2 with RWF_NOWAIT at the current position: EAGAIN instead of waiting, whatever O_NONBLOCK says;
// EOPNOTSUPP for objects that cannot promise that.
Result<size_t> ReadNoWait(BorrowedFd fd, void* to, size_t size);
Result<size_t> WriteNoWait(BorrowedFd fd, const void* from, size_t size);
Result<int64_t> Seek(BorrowedFd fd, int64_t offset, int whence);
Result<void> Truncate(BorrowedFd fd, uint64_t size);
Result<void> Allocate(BorrowedFd fd, int mode, int64_t offset, int64_t length);
// fsync(2), or fdatasync(2).
Result<void> Sync(BorrowedFd fd, bool data_only);
Result<void> Advise(BorrowedFd fd, int64_t offset, int64_t length, int advice);

// memfd_create(2) with MFD_CLOEXEC and these flags. `name` shows in /proc/*/maps of the host.
Result<UniqueFd> MemoryFile(const char* name, unsigned flags = 0);
Result<void> AddSeals(BorrowedFd memory, unsigned seals);

// recv(2) and send(2) of a connected socket, MSG_* flags.
Result<size_t> Receive(BorrowedFd socket, void* to, size_t size, int flags);
Result<size_t> Send(BorrowedFd socket, const void* from, size_t size, int flags);

// --- The machine. ---

// getrandom(2): fills up to `size` bytes, at least one.
Result<size_t> Random(void* to, size_t size);
utsname Uname();
struct sysinfo SystemInfo();

}  // namespace sandbox::host
