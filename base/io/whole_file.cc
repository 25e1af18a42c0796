#include "base/io/whole_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace sandbox {

Result<std::string> ReadAll(BorrowedFd fd, size_t limit) {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return LastErrno();
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > limit) return Err(EFBIG);
  }
}

Result<std::string> ReadAllOf(const char* path, size_t limit) {
  const UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return LastErrno();
  return ReadAll(fd.borrow(), limit);
}

Result<UniqueFd> MemoryFileWith(const char* name, std::string_view text) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd.valid()) return LastErrno();
  for (size_t written = 0; written < text.size();) {
    const ssize_t put = ::pwrite(fd.get(), text.data() + written, text.size() - written, static_cast<off_t>(written));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return LastErrno();
    written += static_cast<size_t>(put);
  }
  return fd;
}

}  // namespace sandbox
