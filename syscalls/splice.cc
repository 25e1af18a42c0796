// splice(2), tee(2), vmsplice(2).
#include <fcntl.h>

#include <algorithm>

#include "sentry/fs/pipe/pipe_file.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/anon_file.h"
#include "sentry/vfs/io.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr unsigned kFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;

// Repeats `attempt` while it says EAGAIN, woken by either queue; `b` may be null.
template <typename Attempt>
Result<size_t> BlockOnEither(Task& task, WaitQueue& a, WaitQueue* b, bool nonblocking, Attempt attempt) {
  auto result = attempt();
  if (!result.Is(EAGAIN) || nonblocking) return result;
  Waker wake_a(task), wake_b(task);
  a.Register(wake_a, kReadable | kWritable);
  if (b != nullptr) b->Register(wake_b, kReadable | kWritable);
  for (;;) {
    result = attempt();
    if (!result.Is(EAGAIN)) break;
    if (auto slept = task.Block({}); !slept.ok()) {
      result = slept.error();
      break;
    }
  }
  a.Unregister(wake_a);
  if (b != nullptr) b->Unregister(wake_b);
  return result;
}

// Optional file offset of splice(2): read before, written back after.
struct SpliceOffset {
  GuestAddr addr;
  int64_t value = 0;
  bool given() const { return !addr.IsNull(); }
  Result<void> Load(Task& task) {
    if (given()) value = TRY(InPtr<int64_t>(addr).Read(task.memory()));
    return {};
  }
  Result<void> Store(Task& task) const { return given() ? OutPtr<int64_t>(addr).Write(task.memory(), value) : Ok(); }
};

// File to pipe: one chunk a call, as much as the pipe takes.
Result<size_t> FillPipe(Task& task, FileDescription& in, SpliceOffset& offset, Pipe& pipe, size_t count,
                        bool nonblocking) {
  const size_t room =
      TRY(BlockOnEither(task, pipe.wait_queue(), nullptr, nonblocking, [&] { return pipe.Room(task); }));
  const size_t size = std::min({count, room, Pipe::kMaxUnprivilegedSize});
  auto chunk = MakeRef<PipeChunk>((size + kPageSize - 1) / kPageSize * kPageSize);
  auto to = IoSequence::Kernel(chunk->bytes.get(), size);
  const size_t got = TRY(offset.given() ? ReadFileAt(task, in, to, offset.value) : ReadFile(task, in, to));
  if (got == 0) return size_t{0};
  // Another writer may have taken the room meanwhile. What does not fit then goes back by not advancing.
  const auto queued = pipe.Queue(task, PipeSlice{.chunk = std::move(chunk), .length = got});
  const size_t taken = queued.ok() ? *queued : 0;
  if (offset.given()) {
    offset.value += static_cast<int64_t>(taken);
  } else if (taken < got && in.seekable()) {
    TRY(SeekFile(task, in, -static_cast<int64_t>(got - taken), SEEK_CUR));
  }
  if (!queued.ok()) return queued;
  return taken;
}

// Pipe to file: slices until `count`, the pipe is empty, or the file takes no more.
Result<size_t> DrainPipe(Task& task, Pipe& pipe, FileDescription& out, SpliceOffset& offset, size_t count,
                         bool nonblocking) {
  size_t total = 0;
  while (total < count) {
    PipeSlice slice;
    auto taken = BlockOnEither(task, pipe.wait_queue(), nullptr, nonblocking || total > 0, [&]() -> Result<size_t> {
      slice = TRY(pipe.TakeSlice(count - total));
      return size_t{slice.length};
    });
    if (!taken.ok() && total == 0) return taken;
    if (!taken.ok() || *taken == 0) break;
    auto from = IoSequence::Kernel(const_cast<char*>(slice.data()), slice.length);
    const auto put = offset.given() ? WriteFileAt(task, out, from, offset.value) : WriteFile(task, out, from);
    const size_t done = put.ok() ? *put : 0;
    if (offset.given()) offset.value += static_cast<int64_t>(done);
    total += done;
    if (done < slice.length) {
      slice.offset += done;
      slice.length -= done;
      pipe.PutBack(std::move(slice));
      if (!put.ok() && total == 0) return put;
      break;
    }
  }
  return total;
}

Result<size_t> SysSplice(Task& task, Fd in_fd, GuestAddr in_addr, Fd out_fd, GuestAddr out_addr, uint64_t count,
                         uint32_t flags) {
  if (flags & ~kFlags) return Err(EINVAL);
  if (count == 0) return size_t{0};
  const FileRef in = TRY(task.fds().Get(in_fd));
  const FileRef out = TRY(task.fds().Get(out_fd));
  if (!in->readable() || !out->writable()) return Err(EBADF);
  Pipe* const from = PipeOf(*in);
  Pipe* const to = PipeOf(*out);
  if ((from != nullptr && !in_addr.IsNull()) || (to != nullptr && !out_addr.IsNull())) return Err(ESPIPE);
  const bool nonblocking = flags & SPLICE_F_NONBLOCK;
  count = std::min<uint64_t>(count, IoSequence::kMaxBytes);
  if (from != nullptr && to != nullptr) {
    if (from == to) return Err(EINVAL);
    return BlockOnEither(task, from->wait_queue(), &to->wait_queue(),
                         nonblocking || in->nonblocking() || out->nonblocking(),
                         [&] { return Pipe::Transfer(task, *from, *to, count, false); });
  }
  if (from == nullptr && to == nullptr) return Err(EINVAL);
  // Linux: no splice_read and no splice_write there. Known before anything is waited for.
  if (const InodeRef inode = in->path().inode(); from == nullptr && inode != nullptr && inode->IsDir(task))
    return Err(EINVAL);
  if (dynamic_cast<AnonFile*>(from != nullptr ? out.get() : in.get()) != nullptr) return Err(EINVAL);
  FileDescription& file = from != nullptr ? *out : *in;
  SpliceOffset offset{from != nullptr ? out_addr : in_addr};
  if (offset.given() && !file.seekable()) return Err(EINVAL);
  TRY(offset.Load(task));
  if (offset.value < 0) return Err(EINVAL);
  if (from != nullptr && (out->flags() & O_APPEND)) return Err(EINVAL);
  const auto moved = from != nullptr ? DrainPipe(task, *from, *out, offset, count, nonblocking || in->nonblocking())
                                     : FillPipe(task, *in, offset, *to, count, nonblocking || out->nonblocking());
  if (moved.ok()) TRY(offset.Store(task));
  return moved;
}
SYSCALL_ROW(splice, Lane::kMayBlock, Support::kFull, SysSplice, "");

Result<size_t> SysTee(Task& task, Fd in_fd, Fd out_fd, uint64_t count, uint32_t flags) {
  if (flags & ~kFlags) return Err(EINVAL);
  if (count == 0) return size_t{0};
  const FileRef in = TRY(task.fds().Get(in_fd));
  const FileRef out = TRY(task.fds().Get(out_fd));
  if (!in->readable() || !out->writable()) return Err(EBADF);
  Pipe* const from = PipeOf(*in);
  Pipe* const to = PipeOf(*out);
  if (from == nullptr || to == nullptr || from == to) return Err(EINVAL);
  count = std::min<uint64_t>(count, IoSequence::kMaxBytes);
  return BlockOnEither(task, from->wait_queue(), &to->wait_queue(),
                       (flags & SPLICE_F_NONBLOCK) || in->nonblocking() || out->nonblocking(),
                       [&] { return Pipe::Transfer(task, *from, *to, count, true); });
}
SYSCALL_ROW(tee, Lane::kMayBlock, Support::kFull, SysTee, "");

// Pages are copied, not gifted: the guest's memory is not the sentry's to share.
Result<size_t> SysVmsplice(Task& task, Fd fd, GuestAddr iov, uint64_t count, uint32_t flags) {
  if (flags & ~kFlags) return Err(EINVAL);
  const FileRef file = TRY(task.fds().Get(fd));
  if (!file->writable() && !file->readable()) return Err(EBADF);
  auto memory = TRY(IoSequence::GuestIovecs(task.memory(), iov, count));
  if (memory.empty()) return size_t{0};
  if (PipeOf(*file) == nullptr) return Err(EBADF);
  // Unlike write(2) a full pipe ends the call once something went in.
  const bool nonblocking = (flags & SPLICE_F_NONBLOCK) || file->nonblocking();
  int64_t none = 0;
  return BlockOnEither(task, PipeOf(*file)->wait_queue(), nullptr, nonblocking, [&] {
    return file->writable() ? file->Write(task, memory, &none, 0) : file->Read(task, memory, &none, 0);
  });
}
SYSCALL_ROW(vmsplice, Lane::kMayBlock, Support::kPartial, SysVmsplice, "copies; SPLICE_F_GIFT has no effect");

}  // namespace
}  // namespace sandbox::syscalls
