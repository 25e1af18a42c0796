#include "sentry/core/guest_memory.h"

#include <climits>
#include <cstring>

#include "platform/api/call_input.h"

namespace sandbox {

Result<std::string> GuestMemory::ReadString(GuestAddr from, size_t max, int too_long) {
  std::string out;
  while (out.size() < max) {
    // Never across a page end in one step: the string may stop just before an unmapped page.
    const size_t to_page_end = kPageSize - ((from.value() + out.size()) & kPageMask);
    const size_t chunk = std::min({max - out.size(), to_page_end, size_t{platform::kStringStep}});
    const size_t old = out.size();
    out.resize(old + chunk);
    const size_t got = TRY(ReadSome(TRY(from.Add(old)), out.data() + old, chunk));
    if (const void* nul = std::memchr(out.data() + old, 0, got)) {
      out.resize(static_cast<const char*>(nul) - out.data());
      return out;
    }
    if (got != chunk) return Err(EFAULT);
  }
  return Err(too_long);
}

Result<std::string> GuestStr::ReadPath(GuestMemory& memory) const {
  return memory.ReadString(addr_, PATH_MAX, ENAMETOOLONG);
}

IoSequence IoSequence::Kernel(void* data, size_t size) {
  IoSequence seq;
  seq.segments_.push_back({reinterpret_cast<uint64_t>(data), size});
  seq.remaining_ = size;
  return seq;
}

IoSequence IoSequence::Guest(GuestMemory& memory, GuestAddr addr, size_t size) {
  IoSequence seq;
  seq.memory_ = &memory;
  seq.remaining_ = std::min(size, kMaxBytes);
  seq.segments_.push_back({addr.value(), seq.remaining_});
  return seq;
}

Result<IoSequence> IoSequence::GuestIovecs(GuestMemory& memory, GuestAddr iov, uint64_t count) {
  if (count > IOV_MAX) return Err(EINVAL);
  const auto entries = TRY(InPtr<GuestIovec>(iov).ReadArray(memory, count));
  IoSequence seq;
  seq.memory_ = &memory;
  seq.segments_.reserve(entries.size());
  for (const GuestIovec& entry : entries) {
    if (static_cast<int64_t>(entry.length) < 0) return Err(EINVAL);
    const size_t take = std::min<size_t>(entry.length, kMaxBytes - seq.remaining_);
    if (take == 0) continue;
    seq.segments_.push_back({entry.base, take});
    seq.remaining_ += take;
  }
  return seq;
}

void IoSequence::Truncate(size_t size) { remaining_ = std::min(remaining_, size); }

void IoSequence::Advance(size_t size) {
  CHECK(size <= remaining_);
  remaining_ -= size;
  while (size > 0) {
    Segment& segment = segments_[index_];
    const size_t step = std::min(size, segment.size);
    segment.base += step;
    segment.size -= step;
    size -= step;
    if (segment.size == 0) ++index_;
  }
}

Result<size_t> IoSequence::CopyOut(const void* from, size_t size) {
  size_t done = 0;
  size = std::min(size, remaining_);
  while (done < size) {
    while (segments_[index_].size == 0) ++index_;
    const Segment& segment = segments_[index_];
    const size_t want = std::min(size - done, segment.size);
    size_t moved = want;
    if (memory_ == nullptr) {
      std::memcpy(reinterpret_cast<char*>(segment.base), static_cast<const char*>(from) + done, want);
    } else {
      auto r = memory_->WriteSome(GuestAddr(segment.base), static_cast<const char*>(from) + done, want);
      if (!r.ok()) return done > 0 ? Result<size_t>(done) : r;
      moved = *r;
    }
    Advance(moved);
    done += moved;
    if (moved < want) break;
  }
  return done;
}

Result<size_t> IoSequence::CopySegmentIn(const Segment& segment, void* to, size_t size) const {
  if (memory_ != nullptr) return memory_->ReadSome(GuestAddr(segment.base), to, size);
  std::memcpy(to, reinterpret_cast<const char*>(segment.base), size);
  return size;
}

Result<size_t> IoSequence::PeekIn(void* to, size_t size) const {
  size_t done = 0;
  size = std::min(size, remaining_);
  for (size_t i = index_; done < size; ++i) {
    const size_t want = std::min(size - done, segments_[i].size);
    if (want == 0) continue;
    const auto moved = CopySegmentIn(segments_[i], static_cast<char*>(to) + done, want);
    if (!moved.ok()) return done > 0 ? Result<size_t>(done) : moved;
    done += *moved;
    if (*moved < want) break;
  }
  return done;
}

Result<size_t> IoSequence::CopyIn(void* to, size_t size) {
  const size_t done = TRY(PeekIn(to, size));
  Advance(done);
  return done;
}

char* IoSequence::Reserve(size_t size) {
  if (memory_ == nullptr || size == 0 || size > remaining_) return nullptr;
  while (segments_[index_].size == 0) ++index_;
  if (segments_[index_].size < size) return nullptr;
  return memory_->Reserve(GuestAddr(segments_[index_].base), size);
}

void IoSequence::Commit(size_t size) {
  memory_->Commit(GuestAddr(segments_[index_].base), size);
  Advance(size);
}

std::optional<Result<size_t>> IoSequence::ReadFile(size_t size, BorrowedFd fd, uint64_t offset) {
  if (memory_ == nullptr || remaining_ == 0) return std::nullopt;
  while (segments_[index_].size == 0) ++index_;
  const Segment& segment = segments_[index_];
  auto got = memory_->ReadFile(GuestAddr(segment.base), std::min({size, segment.size, remaining_}), fd, offset);
  if (got && got->ok()) Advance(**got);
  return got;
}

Result<size_t> IoSequence::ZeroOut(size_t size) {
  static const char zeros[64 * 1024] = {};
  size_t done = 0;
  while (done < size && !empty()) {
    auto r = CopyOut(zeros, std::min(size - done, sizeof(zeros)));
    if (!r.ok()) return done > 0 ? Result<size_t>(done) : r;
    if (*r == 0) break;
    done += *r;
  }
  return done;
}

}  // namespace sandbox
