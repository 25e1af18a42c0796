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

#include "base/host_sys.h"
#include "sentry/core/outside.h"
#include "sentry/vfs/inode.h"

namespace sandbox {
namespace {

constexpr size_t kBounceSize = 64 * 1024;
// What a write may be without RWF_NOWAIT once poll says "writable": a pipe then takes PIPE_BUF without blocking.
constexpr size_t kPolledWrite = 4096;

DonatedTtyOpener tty_opener = nullptr;

bool Unsupported(const Result<size_t>& result) {
  return result.Is(EOPNOTSUPP) || result.Is(EINVAL) || result.Is(ENOSYS);
}

}  // namespace

HostFile::HostFile(Path path, UniqueFd fd, int flags, uint32_t mode, bool shares_offset)
    : FileDescription(std::move(path), flags),
      fd_(std::move(fd)),
      regular_(S_ISREG(mode) || S_ISBLK(mode)),
      shares_offset_(shares_offset && regular_),
      type_(mode & S_IFMT),
      pollable_(fd_.borrow()) {}

Result<RefPtr<HostFile>> HostFile::Make(UniqueFd fd) {
  const struct stat st = TRY(host::Stat(fd.borrow()));
  const int flags = TRY(host::StatusFlags(fd.borrow()));
  return RefPtr<HostFile>(new HostFile(Path{}, std::move(fd), flags & (O_ACCMODE | O_APPEND), st.st_mode, true));
}

Result<FileRef> HostFile::Reopen(Context&, int flags) {
  if (type_ == S_IFSOCK) return Err(ENXIO);
  const int wanted = flags & O_ACCMODE;
  const int host_mode = TRY(host::StatusFlags(fd_.borrow())) & O_ACCMODE;
  if (host_mode != O_RDWR && wanted != host_mode) return Err(EACCES);
  UniqueFd copy = TRY(host::Duplicate(fd_.borrow()));
  if (type_ == S_IFCHR) return OpenDonated(std::move(copy));  // terminals keep their line discipline
  return FileRef(new HostFile(Path{}, std::move(copy), flags & (O_ACCMODE | O_APPEND | O_NONBLOCK), type_, false));
}

Result<size_t> HostFile::ReadSome(void* data, size_t size, int64_t* offset) {
  if (regular_) {
    const size_t n = TRY(host::ReadAt(fd_.borrow(), data, size, *offset));
    *offset += static_cast<int64_t>(n);
    return n;
  }
  if (type_ == S_IFSOCK) return host::Receive(fd_.borrow(), data, size, MSG_DONTWAIT);
  if (can_nowait_.load(std::memory_order_relaxed)) {
    const auto n = host::ReadNoWait(fd_.borrow(), data, size);
    if (!Unsupported(n)) return n;
    can_nowait_.store(false, std::memory_order_relaxed);
  }
  // Another reader of the same description may be faster between the two calls; this thread then waits for data.
  if (host::PollNow(fd_.borrow(), POLLIN) == 0) return Err(EAGAIN);
  return host::Read(fd_.borrow(), data, size);
}

Result<size_t> HostFile::WriteSome(const void* data, size_t size, int64_t* offset) {
  if (regular_) {
    const bool append = flags() & O_APPEND;
    const size_t n = TRY(host::WriteAt(fd_.borrow(), data, size, *offset));
    // An appending host description wrote at the end, wherever we said.
    *offset = append ? TRY(host::Seek(fd_.borrow(), 0, SEEK_END)) : *offset + static_cast<int64_t>(n);
    return n;
  }
  if (type_ == S_IFSOCK) return host::Send(fd_.borrow(), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (can_nowait_.load(std::memory_order_relaxed)) {
    const auto n = host::WriteNoWait(fd_.borrow(), data, size);
    if (!Unsupported(n)) return n;
    can_nowait_.store(false, std::memory_order_relaxed);
  }
  if (host::PollNow(fd_.borrow(), POLLOUT) == 0) return Err(EAGAIN);
  return host::Write(fd_.borrow(), data, std::min(size, kPolledWrite));
}

// Whoever shares the description goes on where another was: standard output and error of one file are two of these. A
// pread moves nothing.
void HostFile::TakeHostOffset(int64_t* offset) NO_THREAD_SAFETY_ANALYSIS {
  if (!shares_offset_ || offset != &position()) return;
  const auto at = host::Seek(fd_.borrow(), 0, SEEK_CUR);
  // Where nobody moved it, ours holds: lseek(2) and copy_file_range(2) move that alone.
  if (at.ok() && *at != host_offset_) *offset = host_offset_ = *at;
}

void HostFile::KeepHostOffset(const int64_t* offset) NO_THREAD_SAFETY_ANALYSIS {
  if (!shares_offset_ || offset != &position()) return;
  if (host::Seek(fd_.borrow(), *offset, SEEK_SET).ok()) host_offset_ = *offset;
}

Result<size_t> HostFile::Read(Context&, IoSequence& to, int64_t* offset, int) {
  if (!readable()) return Err(EBADF);
  if (to.empty()) return size_t{0};
  TakeHostOffset(offset);
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
  SettleOutside();
  TakeHostOffset(offset);
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
  return host::Seek(fd_.borrow(), offset, whence);
}

Result<void> HostFile::Sync(Context&, bool data_only) { return host::Sync(fd_.borrow(), data_only); }

Result<void> HostFile::Allocate(Context&, int mode, int64_t offset, int64_t length) {
  return host::Allocate(fd_.borrow(), mode, offset, length);
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
  TRY(host::Control(fd_.borrow(), FIONREAD, &queued));
  TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), queued));
  return 0;
}

Result<Attr> HostFile::GetAttr(Context&) {
  const struct stat st = TRY(host::Stat(fd_.borrow()));
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
  return host::Truncate(fd_.borrow(), *change.size);
}

std::string HostFile::AnonymousName() const {
  const auto st = host::Stat(fd_.borrow());
  const uint64_t ino = st.ok() ? st->st_ino : 0;
  const char* kind = type_ == S_IFIFO ? "pipe" : type_ == S_IFSOCK ? "socket" : "host";
  return std::string(kind) + ":[" + std::to_string(ino) + "]";
}

void SetDonatedTtyOpener(DonatedTtyOpener opener) { tty_opener = opener; }

Result<FileRef> OpenDonated(UniqueFd fd) {
  if (::isatty(fd.get()) && tty_opener != nullptr) return tty_opener(std::move(fd));
  return FileRef(TRY(HostFile::Make(std::move(fd))));
}

}  // namespace sandbox
