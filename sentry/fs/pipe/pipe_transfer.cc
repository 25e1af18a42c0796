// splice(2) and tee(2): slices that change pipes instead of bytes that are copied (Linux: fs/splice.c).
#include <signal.h>

#include <cstring>

#include "sentry/fs/pipe/pipe.h"

namespace sandbox {
namespace {

// A slice that would pin much more memory than it counts for is copied: a guest must not be able to keep large
// chunks alive with one-byte tees.
PipeSlice Unpinned(PipeSlice slice) {
  if (slice.length * 2 >= slice.chunk->capacity || slice.chunk->capacity <= kPageSize) return slice;
  auto chunk = MakeRef<PipeChunk>((slice.length + kPageSize - 1) / kPageSize * kPageSize);
  std::memcpy(chunk->bytes.get(), slice.data(), slice.length);
  slice.chunk = std::move(chunk);
  slice.offset = 0;
  return slice;
}

}  // namespace

Result<PipeSlice> Pipe::TakeSlice(size_t size) {
  PipeSlice slice;
  bool was_full;
  {
    MutexLock lock(mu_);
    if (slices_.empty()) {
      if (HasWriters()) return Err(EAGAIN);
      return PipeSlice{};
    }
    was_full = FreePagesLocked() == 0;
    slice = TakeFrontLocked(size);
  }
  NotifyRead(was_full);
  return slice;
}

void Pipe::PutBack(PipeSlice rest) {
  {
    MutexLock lock(mu_);
    PutBackLocked(std::move(rest));
  }
  wait_queue_.Notify(kReadable);
}

Result<size_t> Pipe::Room(Context& context) {
  if (!HasReaders()) {
    context.RaiseSignal(SIGPIPE);
    return Err(EPIPE);
  }
  MutexLock lock(mu_);
  if (FreePagesLocked() == 0) return Err(EAGAIN);
  return FreePagesLocked() * kPageSize;
}

Result<size_t> Pipe::Queue(Context& context, PipeSlice slice) {
  TRY(Room(context));
  slice.mergeable = false;  // its page may be shared now
  size_t taken;
  {
    MutexLock lock(mu_);
    taken = AppendSliceLocked(Unpinned(std::move(slice)));
  }
  if (taken == 0) return Err(EAGAIN);
  wait_queue_.Notify(kReadable);
  return taken;
}

Result<size_t> Pipe::Transfer(Context& context, Pipe& from, Pipe& to, size_t size, bool keep) {
  if (&from == &to) return Err(EINVAL);
  size_t done = 0;
  size_t skip = 0;  // tee: bytes of the source that are shared already
  bool was_full = false;
  while (done < size) {
    if (const auto room = to.Room(context); !room.ok()) {
      if (done > 0) break;
      return room;
    }
    PipeSlice slice;
    {
      MutexLock lock(from.mu_);
      was_full = was_full || from.FreePagesLocked() == 0;
      size_t at = 0;
      if (!keep && !from.slices_.empty()) {
        slice = from.TakeFrontLocked(size - done);
      } else if (keep) {
        for (const PipeSlice& s : from.slices_) {
          if (skip < at + s.length) {
            slice = s;
            slice.offset += skip - at;
            slice.length = std::min(s.length - (skip - at), size - done);
            break;
          }
          at += s.length;
        }
      }
    }
    if (slice.length == 0) {
      if (done == 0 && from.HasWriters()) return Err(EAGAIN);
      break;
    }
    const auto taken = to.Queue(context, slice);
    const size_t n = taken.ok() ? *taken : 0;
    if (!keep && n < slice.length) {
      slice.offset += n;
      slice.length -= n;
      from.PutBack(std::move(slice));
    }
    if (!taken.ok()) {
      if (done > 0) break;
      return taken;
    }
    done += n;
    skip += n;
  }
  if (!keep) from.NotifyRead(was_full);
  return done;
}

}  // namespace sandbox
