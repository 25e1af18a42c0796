#include "base/host_sys.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"

namespace sandbox::host {
namespace {

// Makes a call that answers a count or -1, again and again while it is interrupted.
template <typename Call>
Result<size_t> Count(Call call) {
  for (;;) {
    const ssize_t count = call();
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) return LastErrno();
  }
}

template <typename Call>
Result<void> Status(Call call) {
  while (call() != 0) {
    if (errno != EINTR) return LastErrno();
  }
  return {};
}

}  // namespace

Result<UniqueFd> OpenAt(BorrowedFd dir, const char* path, int flags, uint32_t mode) {
  const size_t fd = TRY(Count([&] { return ::openat(dir.get(), path, flags | O_CLOEXEC, mode); }));
  return UniqueFd(static_cast<int>(fd));
}

Result<UniqueFd> Duplicate(BorrowedFd fd) {
  return UniqueFd(TRY(HostResult(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1))));
}

Result<int> StatusFlags(BorrowedFd fd) { return HostResult(::fcntl(fd.get(), F_GETFL)); }

Result<struct stat> Stat(BorrowedFd fd) {
  struct stat st;
  TRY(HostResult(::syscall(SYS_fstat, fd.get(), &st)));
  return st;
}

Result<struct statfs> StatFs(BorrowedFd fd) {
  struct statfs st;
  TRY(Status([&] { return ::fstatfs(fd.get(), &st); }));
  return st;
}

Result<int> Control(BorrowedFd fd, unsigned long request, void* argument) {
  return static_cast<int>(TRY(Count([&] { return ::ioctl(fd.get(), request, argument); })));
}

short PollNow(BorrowedFd fd, short events) {
  pollfd request{fd.get(), events, 0};
  const auto ready = Count([&] { return ::poll(&request, 1, 0); });
  return ready.ok() && *ready > 0 ? request.revents : static_cast<short>(0);
}

Result<size_t> Read(BorrowedFd fd, void* to, size_t size) {
  return Count([&] { return ::read(fd.get(), to, size); });
}

Result<size_t> Write(BorrowedFd fd, const void* from, size_t size) {
  return Count([&] { return ::write(fd.get(), from, size); });
}

Result<size_t> ReadAt(BorrowedFd fd, void* to, size_t size, int64_t offset) {
  return Count([&] { return ::pread(fd.get(), to, size, offset); });
}

Result<size_t> WriteAt(BorrowedFd fd, const void* from, size_t size, int64_t offset, int rwf) {
  const iovec iov{const_cast<void*>(from), size};
  return Count([&] { return ::pwritev2(fd.get(), &iov, 1, offset, rwf); });
}

Result<size_t> ReadNoWait(BorrowedFd fd, void* to, size_t size) {
  const iovec iov{to, size};
  return Count([&] { return ::preadv2(fd.get(), &iov, 1, -1, RWF_NOWAIT); });
}

Result<size_t> WriteNoWait(BorrowedFd fd, const void* from, size_t size) {
  const iovec iov{const_cast<void*>(from), size};
  return Count([&] { return ::pwritev2(fd.get(), &iov, 1, -1, RWF_NOWAIT); });
}

Result<int64_t> Seek(BorrowedFd fd, int64_t offset, int whence) {
  const off_t position = ::lseek(fd.get(), offset, whence);
  if (position < 0) return LastErrno();
  return int64_t{position};
}

Result<void> Truncate(BorrowedFd fd, uint64_t size) {
  return Status([&] { return ::ftruncate(fd.get(), static_cast<off_t>(size)); });
}

Result<void> Allocate(BorrowedFd fd, int mode, int64_t offset, int64_t length) {
  return Status([&] { return ::fallocate(fd.get(), mode, offset, length); });
}

Result<void> Sync(BorrowedFd fd, bool data_only) {
  return Status([&] { return data_only ? ::fdatasync(fd.get()) : ::fsync(fd.get()); });
}

Result<void> Advise(BorrowedFd fd, int64_t offset, int64_t length, int advice) {
  // The one call that returns its error.
  if (const int error = ::posix_fadvise(fd.get(), offset, length, advice); error != 0) return Err(error);
  return {};
}

Result<UniqueFd> MemoryFile(const char* name, unsigned flags) {
  return UniqueFd(TRY(HostResult(::memfd_create(name, flags | MFD_CLOEXEC))));
}

Result<void> AddSeals(BorrowedFd memory, unsigned seals) {
  return Status([&] { return ::fcntl(memory.get(), F_ADD_SEALS, seals); });
}

Result<size_t> Receive(BorrowedFd socket, void* to, size_t size, int flags) {
  return Count([&] { return ::recv(socket.get(), to, size, flags); });
}

Result<size_t> Send(BorrowedFd socket, const void* from, size_t size, int flags) {
  return Count([&] { return ::send(socket.get(), from, size, flags); });
}

Result<size_t> Random(void* to, size_t size) {
  return Count([&] { return ::getrandom(to, size, 0); });
}

utsname Uname() {
  utsname name;
  CHECK(::uname(&name) == 0);  // fails only for a bad pointer
  return name;
}

struct sysinfo SystemInfo() {
  struct sysinfo info;
  CHECK(::sysinfo(&info) == 0);  // likewise
  return info;
}

}  // namespace sandbox::host
