// What a pipe holds: a queue of slices of reference-counted chunks (Linux: struct pipe_buffer and its page). A large
// write is one chunk and so one copy from the guest; capacity is counted in pages as Linux counts it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>

#include "base/guest_addr.h"
#include "base/ref.h"

namespace sandbox {

// Bytes below a slice's end never change once they are queued, so a reader copies them without any lock.
struct PipeChunk {
  explicit PipeChunk(size_t size) : capacity(size), bytes(std::make_unique_for_overwrite<char[]>(size)) {}
  const size_t capacity;  // whole pages
  const std::unique_ptr<char[]> bytes;
};

struct PipeSlice {
  RefPtr<PipeChunk> chunk;
  size_t offset = 0;
  size_t length = 0;
  bool packet = false;     // O_DIRECT: a read takes one of these and drops its rest
  bool mergeable = false;  // small writes may be appended behind it in its last page

  const char* data() const { return chunk->bytes.get() + offset; }
  // Pages touched: what the slice counts against the pipe's capacity.
  size_t pages() const {
    if (length == 0) return 0;
    return (offset + length - 1) / kPageSize - offset / kPageSize + 1;
  }
  // Free bytes behind the slice in its last page.
  size_t tail_room() const {
    const size_t end = offset + length;
    return mergeable ? (kPageSize - end % kPageSize) % kPageSize : 0;
  }
};

}  // namespace sandbox
