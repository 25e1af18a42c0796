// sendfile(2), copy_file_range(2): transfers between two open files through a sentry buffer.
#include <fcntl.h>

#include <algorithm>
#include <memory>

#include "sentry/kernel/task.h"
#include "sentry/vfs/io.h"
#include "syscalls/file_range.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr size_t kChunk = 128 * 1024;

// Where one side of a transfer stands: an explicit offset, or the description's own position.
class Cursor {
 public:
  // `addr` null = the description's position. EFAULT.
  static Result<Cursor> At(Task& task, const FileRef& file, GuestAddr addr) {
    if (!addr.IsNull()) return Cursor(file, addr, TRY(InPtr<int64_t>(addr).Read(task.memory())));
    MutexLock lock(file->position_mutex());
    return Cursor(file, addr, file->position());
  }
  int64_t& offset() { return offset_; }
  int64_t offset() const { return offset_; }
  // Writes the offset back to where it came from.
  Result<void> Finish(Task& task) {
    if (!addr_.IsNull()) return OutPtr<int64_t>(addr_).Write(task.memory(), offset_);
    MutexLock lock(file_->position_mutex());
    file_->position() = offset_;
    return {};
  }

 private:
  Cursor(FileRef file, GuestAddr addr, int64_t offset) : file_(std::move(file)), addr_(addr), offset_(offset) {}
  FileRef file_;
  GuestAddr addr_;
  int64_t offset_;
};

// Copies up to `count` bytes from `in` at *in_offset to `out`, at *out_offset or (null) as write(2) would. An error
// after the first byte ends the transfer with what was done.
Result<size_t> Copy(Task& task, FileDescription& in, int64_t* in_offset, FileDescription& out, int64_t* out_offset,
                    size_t count) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(std::min(count, kChunk));
  size_t total = 0;
  while (total < count) {
    auto to = IoSequence::Kernel(buffer.get(), std::min(count - total, kChunk));
    const auto got = ReadFileAt(task, in, to, *in_offset);
    if (!got.ok() && total == 0) return got;
    if (!got.ok() || *got == 0) break;
    auto from = IoSequence::Kernel(buffer.get(), *got);
    const auto put = out_offset != nullptr ? WriteFileAt(task, out, from, *out_offset) : WriteFile(task, out, from);
    if (!put.ok() && total == 0) return put;
    if (!put.ok() || *put == 0) break;
    *in_offset += static_cast<int64_t>(*put);
    if (out_offset != nullptr) *out_offset += static_cast<int64_t>(*put);
    total += *put;
    if (*put < *got || task.Interrupted()) break;
  }
  return total;
}

Result<size_t> SysSendfile(Task& task, Fd out_fd, Fd in_fd, GuestAddr offset_addr, uint64_t count) {
  const FileRef in = TRY(task.fds().Get(in_fd));
  if (!in->readable()) return Err(EBADF);
  if (!in->seekable()) return Err(offset_addr.IsNull() ? EINVAL : ESPIPE);
  if (const InodeRef inode = in->path().inode(); inode != nullptr && inode->IsDir(task)) return Err(EINVAL);
  const FileRef out = TRY(task.fds().Get(out_fd));
  if (!out->writable()) return Err(EBADF);
  if (out->flags() & O_APPEND) return Err(EINVAL);
  Cursor cursor = TRY(Cursor::At(task, in, offset_addr));
  if (cursor.offset() < 0 || static_cast<int64_t>(count) < 0) return Err(EINVAL);
  const auto sent = Copy(task, *in, &cursor.offset(), *out, nullptr, std::min(count, IoSequence::kMaxBytes));
  TRY(cursor.Finish(task));
  return sent;
}
SYSCALL_ROW(sendfile, Lane::kMayBlock, Support::kFull, SysSendfile, "");

Result<size_t> SysCopyFileRange(Task& task, Fd in_fd, GuestAddr in_addr, Fd out_fd, GuestAddr out_addr, uint64_t count,
                                uint32_t flags) {
  const FileRef in = TRY(task.fds().Get(in_fd));
  const FileRef out = TRY(task.fds().Get(out_fd));
  Cursor from = TRY(Cursor::At(task, in, in_addr));
  Cursor to = TRY(Cursor::At(task, out, out_addr));
  if (flags != 0) return Err(EINVAL);
  TRY(CheckFileRange(task, *in, *out));
  for (const Cursor* cursor : {&from, &to}) {
    uint64_t end;  // without a sign here (Linux: generic_copy_file_checks)
    if (__builtin_add_overflow(static_cast<uint64_t>(cursor->offset()), count, &end)) return Err(EOVERFLOW);
    if (cursor->offset() < 0) return Err(EINVAL);
  }
  // What is behind the end is not copied, and so does not overlap.
  const int64_t left = std::max<int64_t>(static_cast<int64_t>(TRY(in->GetAttr(task)).size) - from.offset(), 0);
  const auto wanted = static_cast<int64_t>(std::min<uint64_t>(count, static_cast<uint64_t>(left)));
  int64_t end;
  if (__builtin_add_overflow(to.offset(), wanted, &end)) return Err(EFBIG);
  // Files of two file systems have no short way between them. Descriptors of the host's have no place in one.
  const InodeRef source = in->path().inode(), target = out->path().inode();
  if (source != nullptr && target != nullptr && source->device() != target->device()) return Err(EXDEV);
  if ((source != nullptr ? source == target : in == out) && from.offset() < to.offset() + wanted &&
      to.offset() < from.offset() + wanted) {
    return Err(EINVAL);
  }
  // At the description's own position it is a write(2), which others of a shared description see.
  const auto copied = Copy(task, *in, &from.offset(), *out, out_addr.IsNull() ? nullptr : &to.offset(),
                           std::min(static_cast<uint64_t>(wanted), IoSequence::kMaxBytes));
  TRY(from.Finish(task));
  if (!out_addr.IsNull()) TRY(to.Finish(task));
  return copied;
}
SYSCALL_ROW(copy_file_range, Lane::kShort, Support::kFull, SysCopyFileRange, "");

}  // namespace

Result<void> CheckFileRange(Task& task, FileDescription& in, FileDescription& out) {
  const Attr in_attr = TRY(in.GetAttr(task));
  const Attr out_attr = TRY(out.GetAttr(task));
  if (in_attr.IsDir() || out_attr.IsDir()) return Err(EISDIR);
  if (!in_attr.IsRegular() || !out_attr.IsRegular()) return Err(EINVAL);
  if (!in.readable() || !out.writable() || (out.flags() & O_APPEND)) return Err(EBADF);
  return {};
}

}  // namespace sandbox::syscalls
