#include "sentry/fs/host/host_file.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "sentry/vfs/inode.h"

namespace sandbox {
namespace {

constexpr size_t kBounceSize = 64 * 1024;
// What a write may be without RWF_NOWAIT once poll says "writable": a pipe then takes PIPE_BUF without blocking.
constexpr size_t kPolledWrite = 4096;

bool PollNow(int fd, short events) {
  pollfd request{fd, events, 0};
  return ::poll(&request, 1, 0) > 0;
}

DonatedTtyOpener tty_opener = nullptr;

bool Unsupported(int err) { return err == EOPNOTSUPP || err == EINVAL || err == ENOSYS; }

}  // namespace

HostFile::HostFile(Path path, UniqueFd fd, int flags, uint32_t mode, int64_t position)
    : FileDescription(std::move(path), flags),
      fd_(std::move(fd)),
      regular_(S_ISREG(mode) || S_ISBLK(mode)),
      type_(mode & S_IFMT),
      pollable_(fd_.borrow()) {
  MutexLock lock(position_mutex());
  this->position() = position;
}

Result<RefPtr<HostFile>> HostFile::Make(UniqueFd fd) {
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return LastErrno();
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0) return LastErrno();
  const off_t position = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? ::lseek(fd.get(), 0, SEEK_CUR) : 0;
  return RefPtr<HostFile>(new HostFile(Path{}, std::move(fd), flags & (O_ACCMODE | O_APPEND), st.st_mode, std::max<off_t>(position, 0)));
}

Result<FileRef> HostFile::Reopen(Context&, int flags) {
  if (type_ == S_IFSOCK) return Err(ENXIO);
  const int wanted = flags & O_ACCMODE;
  const int host_mode = ::fcntl(fd_.get(), F_GETFL) & O_ACCMODE;
  if (host_mode != O_RDWR && wanted != host_mode) return Err(EACCES);
  UniqueFd copy(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return LastErrno();
  if (type_ == S_IFCHR) return OpenDonated(std::move(copy));  // terminals keep their line discipline
  return FileRef(new HostFile(Path{}, std::move(copy), flags & (O_ACCMODE | O_APPEND | O_NONBLOCK), type_, 0));
}

Result<size_t> HostFile::ReadSome(void* data, size_t size, int64_t* offset) {
  if (regular_) {
    const ssize_t n = ::pread(fd_.get(), data, size, *offset);
    if (n < 0) return LastErrno();
    *offset += n;
    return static_cast<size_t>(n);
  }
  ssize_t n = -1;
  if (type_ == S_IFSOCK) {
    n = ::recv(fd_.get(), data, size, MSG_DONTWAIT);
  } else if (can_nowait_.load(std::memory_order_relaxed)) {
    iovec iov{data, size};
    n = ::preadv2(fd_.get(), &iov, 1, -1, RWF_NOWAIT);
    if (n < 0 && Unsupported(errno)) can_nowait_.store(false, std::memory_order_relaxed);
  }
  if (n < 0 && !can_nowait_.load(std::memory_order_relaxed)) {
    // Another reader of the same description may be faster between the two calls; this thread then waits for data.
    if (!PollNow(fd_.get(), POLLIN)) return Err(EAGAIN);
    n = ::read(fd_.get(), data, size);
  }
  if (n < 0) return LastErrno();
  return static_cast<size_t>(n);
}

Result<size_t> HostFile::WriteSome(const void* data, size_t size, int64_t* offset) {
  if (regular_) {
    const bool append = flags() & O_APPEND;
    const ssize_t n = ::pwrite(fd_.get(), data, size, *offset);
    if (n < 0) return LastErrno();
    // An appending host description wrote at the end, wherever we said.
    *offset = append ? std::max<off_t>(::lseek(fd_.get(), 0, SEEK_END), 0) : *offset + n;
    return static_cast<size_t>(n);
  }
  ssize_t n = -1;
  if (type_ == S_IFSOCK) {
    n = ::send(fd_.get(), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  } else if (can_nowait_.load(std::memory_order_relaxed)) {
    iovec iov{const_cast<void*>(data), size};
    n = ::pwritev2(fd_.get(), &iov, 1, -1, RWF_NOWAIT);
    if (n < 0 && Unsupported(errno)) can_nowait_.store(false, std::memory_order_relaxed);
  }
  if (n < 0 && !can_nowait_.load(std::memory_order_relaxed)) {
    if (!PollNow(fd_.get(), POLLOUT)) return Err(EAGAIN);
    n = ::write(fd_.get(), data, std::min(size, kPolledWrite));
  }
  if (n < 0) return LastErrno();
  return static_cast<size_t>(n);
}

// Processes outside that share the description continue where the guest is. A pread moves nothing.
void HostFile::KeepHostOffset(const int64_t* offset) NO_THREAD_SAFETY_ANALYSIS {
  if (regular_ && offset == &position()) (void)::lseek(fd_.get(), *offset, SEEK_SET);
}

Result<size_t> HostFile::Read(Context&, IoSequence& to, int64_t* offset, int) {
  if (!readable()) return Err(EBADF);
  if (to.empty()) return size_t{0};
  const auto bounce = std::make_unique_for_overwrite<char[]>(std::min(to.remaining(), kBounceSize));
  size_t done = 0;
  Result<size_t> result = size_t{0};
  do {
    const size_t want = std::min(to.remaining(), kBounceSize);
    result = ReadSome(bounce.get(), want, offset);
    if (!result.ok() || *result == 0) break;
    const size_t got = *result;
    result = to.CopyOut(bounce.get(), got);
    if (!result.ok()) break;
    done += *result;
    if (*result < got || got < want) break;
  } while (!to.empty() && regular_);
  if (done > 0) KeepHostOffset(offset);
  if (done == 0 && result.Is(EAGAIN)) pollable_.Arm(kReadable);
  return done > 0 ? Result<size_t>(done) : result;
}

Result<size_t> HostFile::Write(Context& context, IoSequence& from, int64_t* offset, int) {
  if (!writable()) return Err(EBADF);
  const auto bounce = std::make_unique_for_overwrite<char[]>(std::min(from.remaining(), kBounceSize));
  size_t done = 0;
  Result<size_t> result = size_t{0};
  while (!from.empty()) {
    result = from.PeekIn(bounce.get(), std::min(from.remaining(), kBounceSize));
    if (!result.ok() || *result == 0) break;
    const size_t want = *result;
    result = WriteSome(bounce.get(), want, offset);
    if (!result.ok()) break;
    from.Advance(*result);
    done += *result;
    if (*result < want) break;
  }
  if (done > 0) KeepHostOffset(offset);
  if (result.Is(EAGAIN)) pollable_.Arm(kWritable);
  if (result.Is(EPIPE) && done == 0) context.RaiseSignal(SIGPIPE);
  return done > 0 ? Result<size_t>(done) : result;
}

Result<int64_t> HostFile::Seek(Context&, int64_t offset, int whence) {
  if (!regular_) return Err(ESPIPE);
  const off_t position = ::lseek(fd_.get(), offset, whence);
  if (position < 0) return LastErrno();
  return static_cast<int64_t>(position);
}

Result<void> HostFile::Sync(Context&, bool data_only) {
  const int rc = data_only ? ::fdatasync(fd_.get()) : ::fsync(fd_.get());
  if (rc != 0) return LastErrno();
  return {};
}

Result<void> HostFile::Allocate(Context&, int mode, int64_t offset, int64_t length) {
  if (::fallocate(fd_.get(), mode, offset, length) != 0) return LastErrno();
  return {};
}

EventMask HostFile::Readiness(Context&, EventMask interest) {
  if (!pollable_.can_wait()) return kReadable | kWritable;
  const EventMask state = pollable_.State(interest);
  pollable_.Arm(interest & ~state & ~kEventAlways);
  return state;
}

Result<int64_t> HostFile::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  if (request != FIONREAD) return Err(ENOTTY);
  int queued = 0;
  if (::ioctl(fd_.get(), FIONREAD, &queued) != 0) return LastErrno();
  TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), queued));
  return 0;
}

Result<Attr> HostFile::GetAttr(Context&) {
  struct stat st;
  if (::fstat(fd_.get(), &st) != 0) return LastErrno();
  Attr attr;
  attr.ino = st.st_ino;
  attr.mode = st.st_mode;
  attr.nlink = st.st_nlink;
  attr.uid = st.st_uid;
  attr.gid = st.st_gid;
  attr.rdev = st.st_rdev;
  attr.size = st.st_size;
  attr.blocks = st.st_blocks;
  attr.blksize = st.st_blksize;
  const auto time = [](const timespec& t) { return FileTime{t.tv_sec, static_cast<uint32_t>(t.tv_nsec)}; };
  attr.atime = time(st.st_atim);
  attr.mtime = time(st.st_mtim);
  attr.ctime = time(st.st_ctim);
  return attr;
}

// Only the size: owner, mode and times belong to whoever donated the file.
Result<void> HostFile::SetAttr(Context&, const AttrChange& change) {
  if (change.mode || change.uid || change.gid) return Err(EPERM);
  if (!change.size) return {};
  if (::ftruncate(fd_.get(), static_cast<off_t>(*change.size)) != 0) return LastErrno();
  return {};
}

std::string HostFile::AnonymousName() const {
  struct stat st;
  const uint64_t ino = ::fstat(fd_.get(), &st) == 0 ? st.st_ino : 0;
  const char* kind = type_ == S_IFIFO ? "pipe" : type_ == S_IFSOCK ? "socket" : "host";
  return std::string(kind) + ":[" + std::to_string(ino) + "]";
}

void SetDonatedTtyOpener(DonatedTtyOpener opener) { tty_opener = opener; }

Result<FileRef> OpenDonated(UniqueFd fd) {
  if (::isatty(fd.get()) && tty_opener != nullptr) return tty_opener(std::move(fd));
  return FileRef(TRY(HostFile::Make(std::move(fd))));
}

}  // namespace sandbox
