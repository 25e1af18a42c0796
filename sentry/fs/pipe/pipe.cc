#include "sentry/fs/pipe/pipe.h"

#include <linux/capability.h>
#include <signal.h>

#include <cstring>

#include "base/check.h"

namespace sandbox {
namespace {

// One copy from the guest at most this long, so that a huge write does not allocate its whole size at once.
constexpr size_t kMaxChunk = 256 * 1024;

}  // namespace

size_t Pipe::FreePagesLocked() const { return used_pages_ >= max_pages_ ? 0 : max_pages_ - used_pages_; }

PipeSlice Pipe::TakeFrontLocked(size_t size) {
  PipeSlice& front = slices_.front();
  const size_t before = front.pages();
  PipeSlice taken = front;
  taken.length = std::min(size, front.length);
  bytes_ -= taken.length;
  if (front.packet) bytes_ -= front.length - taken.length;  // the rest of a packet is dropped
  if (taken.length == front.length || front.packet) {
    used_pages_ -= before;
    slices_.pop_front();
  } else {
    front.offset += taken.length;
    front.length -= taken.length;
    used_pages_ -= before - front.pages();
  }
  return taken;
}

void Pipe::PutBackLocked(PipeSlice rest) {
  if (rest.length == 0) return;
  // Others may have appended behind it in its page meanwhile, and still be reading there.
  rest.mergeable = false;
  bytes_ += rest.length;
  // It may share its page with the slice in front, which then does not count it twice.
  if (!slices_.empty() && !rest.packet && slices_.front().chunk == rest.chunk &&
      slices_.front().offset == rest.offset + rest.length) {
    PipeSlice& front = slices_.front();
    used_pages_ -= front.pages();
    front.offset = rest.offset;
    front.length += rest.length;
    used_pages_ += front.pages();
    return;
  }
  used_pages_ += rest.pages();
  slices_.push_front(std::move(rest));
}

size_t Pipe::TakeBatchLocked(size_t size, Batch& batch, bool* stop) {
  size_t count = 0;
  *stop = false;
  while (size > 0 && count < kBatch && !slices_.empty() && !*stop) {
    batch[count] = TakeFrontLocked(size);
    size -= batch[count].length;
    *stop = batch[count].packet;
    ++count;
  }
  return count;
}

void Pipe::NotifyRead(bool was_full) {
  if (was_full) wait_queue_.Notify(kWritable);
}

Result<size_t> Pipe::Read(IoSequence& to) {
  if (to.empty()) return size_t{0};
  size_t done = 0;
  bool stop = false;
  while (!to.empty() && !stop) {
    Batch batch;
    size_t count = 0;
    bool was_full = false;
    {
      MutexLock lock(mu_);
      was_full = FreePagesLocked() == 0;
      count = TakeBatchLocked(to.remaining(), batch, &stop);
      if (count == 0) break;
    }
    for (size_t i = 0; i < count; ++i) {
      PipeSlice& slice = batch[i];
      const auto moved = to.CopyOut(slice.data(), slice.length);
      const size_t n = moved.ok() ? *moved : 0;
      done += n;
      if (n == slice.length) continue;
      // A fault: what was not delivered goes back, last slice first, and the read ends.
      slice.offset += n;
      slice.length -= n;
      MutexLock lock(mu_);
      for (size_t k = count; k-- > i;) PutBackLocked(std::move(batch[k]));
      return done > 0 ? Result<size_t>(done) : Err(EFAULT);
    }
    {
      MutexLock lock(mu_);
      PipeSlice& last = batch[count - 1];
      if (spare_ == nullptr && last.chunk.use_count() == 1 && last.chunk->capacity == kPageSize) {
        spare_ = std::move(last.chunk);
      }
    }
    NotifyRead(was_full);
    if (count < kBatch) break;
  }
  if (done > 0 || stop) return done;
  if (HasWriters()) return Err(EAGAIN);
  return size_t{0};
}

size_t Pipe::NextWriteLocked(size_t size, bool packets) const {
  const size_t free_bytes = FreePagesLocked() * kPageSize;
  if (packets) return std::min({size, kPageSize, free_bytes});
  // Linux merges the odd part first, so that the rest fills whole pages and small writes stay atomic.
  const size_t odd = size % kPageSize;
  if (odd != 0 && !slices_.empty() && slices_.back().tail_room() >= odd) return odd;
  if (size <= kAtomicSize) return free_bytes > 0 ? size : 0;
  return std::min({size, free_bytes, kMaxChunk});
}

RefPtr<PipeChunk> Pipe::PageChunkLocked() {
  if (spare_ != nullptr) return std::move(spare_);
  return MakeRef<PipeChunk>(kPageSize);
}

size_t Pipe::AppendSmallLocked(const char* data, size_t size, bool packet) {
  if (!packet && !slices_.empty() && slices_.back().tail_room() >= size) {
    PipeSlice& tail = slices_.back();
    std::memcpy(tail.chunk->bytes.get() + tail.offset + tail.length, data, size);
    tail.length += size;
    bytes_ += size;
    return size;
  }
  if (FreePagesLocked() == 0) return 0;
  PipeSlice slice{PageChunkLocked(), 0, size, packet, !packet};
  std::memcpy(slice.chunk->bytes.get(), data, size);
  return AppendSliceLocked(std::move(slice));
}

size_t Pipe::AppendSliceLocked(PipeSlice slice) {
  // Cut to the free pages; the first page of a slice may begin in its middle.
  const size_t free_pages = FreePagesLocked();
  if (free_pages == 0) return 0;
  const size_t limit = free_pages * kPageSize - slice.offset % kPageSize;
  if (slice.length > limit) {
    slice.length = limit;
    slice.mergeable = false;
  }
  const size_t taken = slice.length;
  bytes_ += taken;
  used_pages_ += slice.pages();
  slices_.push_back(std::move(slice));
  return taken;
}

Result<size_t> Pipe::WriteSmall(IoSequence& from, size_t size, bool packets) {
  char bounce[kPageSize];
  if (TRY(from.PeekIn(bounce, size)) != size) return Err(EFAULT);
  size_t taken;
  {
    MutexLock lock(mu_);
    taken = AppendSmallLocked(bounce, size, packets);
  }
  from.Advance(taken);
  return taken;
}

Result<size_t> Pipe::WriteChunk(IoSequence& from, size_t size) {
  auto chunk = MakeRef<PipeChunk>((size + kPageSize - 1) / kPageSize * kPageSize);
  size_t copied = TRY(from.PeekIn(chunk->bytes.get(), size));
  // As on Linux a page that faulted half-way is not written at all.
  if (copied < size) copied = copied / kPageSize * kPageSize;
  if (copied == 0) return Err(EFAULT);
  size_t taken;
  {
    MutexLock lock(mu_);
    taken = AppendSliceLocked(PipeSlice{std::move(chunk), 0, copied, false, true});
  }
  from.Advance(taken);
  return taken;
}

Result<size_t> Pipe::Write(Context& context, IoSequence& from, bool packets) {
  size_t done = 0;
  while (!from.empty()) {
    if (!HasReaders()) {
      context.RaiseSignal(SIGPIPE);
      return done > 0 ? Result<size_t>(done) : Err(EPIPE);
    }
    size_t next;
    {
      MutexLock lock(mu_);
      next = NextWriteLocked(from.remaining(), packets);
    }
    if (next == 0) break;
    const auto wrote = next <= kPageSize ? WriteSmall(from, next, packets) : WriteChunk(from, next);
    if (!wrote.ok()) {
      if (done > 0) break;
      return wrote;
    }
    if (*wrote == 0) continue;  // another writer was faster: look again
    done += *wrote;
    wait_queue_.Notify(kReadable);
  }
  if (done == 0 && !from.empty()) return Err(EAGAIN);
  return done;
}

void Pipe::AddEnds(bool reader, bool writer) {
  if (reader) {
    readers_.fetch_add(1);
    reader_opens_.fetch_add(1);
  }
  if (writer) {
    writers_.fetch_add(1);
    writer_opens_.fetch_add(1);
  }
  wait_queue_.Notify(kReadable | kWritable);
}

void Pipe::DropEnds(bool reader, bool writer) {
  const bool last_reader = reader && readers_.fetch_sub(1) == 1;
  const bool last_writer = writer && writers_.fetch_sub(1) == 1;
  if (!HasReaders() && !HasWriters()) {
    // Linux frees the buffers with the last end, also those of a fifo that is opened again later.
    MutexLock lock(mu_);
    slices_.clear();
    used_pages_ = bytes_ = 0;
  }
  if (last_reader || last_writer) {
    wait_queue_.Notify(kReadable | kWritable | kEventErr | kEventHup);
  }
}

EventMask Pipe::ReadEvents() const {
  MutexLock lock(mu_);
  return slices_.empty() ? 0 : kReadable;
}

EventMask Pipe::WriteEvents() const {
  EventMask events = HasReaders() ? 0 : kEventErr;
  MutexLock lock(mu_);
  if (FreePagesLocked() > 0) events |= kWritable;
  return events;
}

size_t Pipe::queued_bytes() const {
  MutexLock lock(mu_);
  return bytes_;
}

size_t Pipe::capacity() const {
  MutexLock lock(mu_);
  return max_pages_ * kPageSize;
}

Result<size_t> Pipe::SetCapacity(Context& context, size_t size) {
  // Linux: round_pipe_size, a power of two of at least one page; beyond 2^31 is EINVAL.
  if (size > (size_t{1} << 31)) return Err(EINVAL);
  size_t rounded = kPageSize;
  while (rounded < size) rounded <<= 1;
  size_t old;
  {
    MutexLock lock(mu_);
    old = max_pages_ * kPageSize;
  }
  const bool privileged = context.creds().Has(CAP_SYS_RESOURCE);
  if (rounded > old && rounded > kMaxUnprivilegedSize && !privileged) return Err(EPERM);
  if (rounded > kMaxSize) return Err(ENOMEM);
  {
    MutexLock lock(mu_);
    if (used_pages_ > rounded / kPageSize) return Err(EBUSY);
    max_pages_ = rounded / kPageSize;
  }
  if (rounded > old) wait_queue_.Notify(kWritable);
  return rounded;
}

}  // namespace sandbox
