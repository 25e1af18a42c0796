// Pipe: the buffer behind pipe(2) and fifo(7) (Linux: struct pipe_inode_info, fs/pipe.c).
//
// Guest memory is never copied under the lock. A writer learns the room, copies into memory of its own, and queues
// it; a reader takes slices off the queue, copies them out, and puts back what a fault left. Memory is allocated when
// data arrives. Nothing here blocks: EAGAIN, and the generic layer waits on wait_queue().
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "base/mutex.h"
#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/fs/pipe/pipe_buffer.h"

namespace sandbox {

class Pipe {
 public:
  static constexpr size_t kDefaultPages = 16;
  static constexpr size_t kMaxUnprivilegedSize = 1 << 20;  // /proc/sys/fs/pipe-max-size
  static constexpr size_t kMaxSize = 64 << 20;             // ours: bounds sentry memory one pipe can pin
  static constexpr size_t kAtomicSize = kPageSize;         // PIPE_BUF

  Pipe() = default;
  Pipe(const Pipe&) = delete;

  // 0 at end of file (no writers), EAGAIN when empty.
  Result<size_t> Read(IoSequence& to);
  // EPIPE after raising SIGPIPE when nobody can read; EAGAIN when full (or when an atomic write does not fit).
  Result<size_t> Write(Context& context, IoSequence& from, bool packets);

  // splice(2) and tee(2) between pipes: moves or shares up to `size` bytes without copying them.
  // EAGAIN when the source is empty or the destination full; 0 at end of file.
  static Result<size_t> Transfer(Context& context, Pipe& from, Pipe& to, size_t size, bool keep);
  // Takes up to `size` bytes off the queue for a transfer elsewhere; PutBack returns what did not fit there.
  Result<PipeSlice> TakeSlice(size_t size);
  void PutBack(PipeSlice rest);
  // Bytes that Queue would accept now, at least one page's worth when not full. EPIPE, EAGAIN as Write.
  Result<size_t> Room(Context& context);
  // Queues a slice made elsewhere, up to the room; returns the bytes taken.
  Result<size_t> Queue(Context& context, PipeSlice slice);

  // Ends. An open end keeps the other side from seeing end of file or EPIPE.
  void AddEnds(bool reader, bool writer);
  void DropEnds(bool reader, bool writer);
  bool HasReaders() const { return readers_.load() > 0; }
  bool HasWriters() const { return writers_.load() > 0; }
  // Openings so far; a blocking fifo open waits until the other side's count changes (Linux: r_counter, w_counter).
  uint64_t reader_opens() const { return reader_opens_.load(); }
  uint64_t writer_opens() const { return writer_opens_.load(); }

  EventMask ReadEvents() const;   // kReadable; HUP is the file's, it knows what it has seen
  EventMask WriteEvents() const;  // kWritable, kEventErr

  size_t queued_bytes() const;  // FIONREAD
  size_t capacity() const;      // F_GETPIPE_SZ
  // F_SETPIPE_SZ. Returns the size set; EBUSY when more is queued, EPERM beyond the unprivileged maximum.
  Result<size_t> SetCapacity(Context& context, size_t size);

  WaitQueue& wait_queue() { return wait_queue_; }

 private:
  static constexpr size_t kBatch = 16;
  using Batch = std::array<PipeSlice, kBatch>;

  // Slices for a read of `size` bytes, cut to it; `stop` when a packet ended the read.
  size_t TakeBatchLocked(size_t size, Batch& batch, bool* stop) REQUIRES(mu_);
  PipeSlice TakeFrontLocked(size_t size) REQUIRES(mu_);
  void PutBackLocked(PipeSlice rest) REQUIRES(mu_);
  size_t FreePagesLocked() const REQUIRES(mu_);
  // What a write of `size` bytes may pass to Append next: the piece that merges into the tail, or whole pages.
  size_t NextWriteLocked(size_t size, bool packets) const REQUIRES(mu_);
  size_t AppendSmallLocked(const char* data, size_t size, bool packet) REQUIRES(mu_);
  size_t AppendSliceLocked(PipeSlice slice) REQUIRES(mu_);
  Result<size_t> WriteSmall(IoSequence& from, size_t size, bool packets);
  Result<size_t> WriteChunk(IoSequence& from, size_t size);
  RefPtr<PipeChunk> PageChunkLocked() REQUIRES(mu_);
  void NotifyRead(bool was_full);

  mutable Mutex mu_{LockRank::kPipe};
  std::deque<PipeSlice> slices_ GUARDED_BY(mu_);
  size_t used_pages_ GUARDED_BY(mu_) = 0;
  size_t max_pages_ GUARDED_BY(mu_) = kDefaultPages;
  size_t bytes_ GUARDED_BY(mu_) = 0;
  RefPtr<PipeChunk> spare_ GUARDED_BY(mu_);  // the last drained page, for the next small write
  std::atomic<int> readers_{0}, writers_{0};
  std::atomic<uint64_t> reader_opens_{0}, writer_opens_{0};
  WaitQueue wait_queue_;
};

}  // namespace sandbox
