// An address in a guest's address space. It never converts to a pointer: the only way to the bytes is GuestMemory.
#pragma once

#include <compare>
#include <cstdint>

#include "base/result.h"

namespace sandbox {

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kPageMask = kPageSize - 1;

class GuestAddr {
 public:
  constexpr GuestAddr() = default;
  constexpr explicit GuestAddr(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }
  constexpr bool IsNull() const { return value_ == 0; }
  constexpr bool IsPageAligned() const { return (value_ & kPageMask) == 0; }
  constexpr GuestAddr PageDown() const { return GuestAddr(value_ & ~kPageMask); }

  // Fails with EFAULT when the sum wraps.
  Result<GuestAddr> Add(uint64_t bytes) const {
    uint64_t sum;
    if (__builtin_add_overflow(value_, bytes, &sum)) return Err(EFAULT);
    return GuestAddr(sum);
  }
  // For sums the caller has bounded already.
  constexpr GuestAddr operator+(uint64_t bytes) const { return GuestAddr(value_ + bytes); }
  constexpr GuestAddr operator-(uint64_t bytes) const { return GuestAddr(value_ - bytes); }
  constexpr uint64_t operator-(GuestAddr other) const { return value_ - other.value_; }
  friend constexpr auto operator<=>(GuestAddr, GuestAddr) = default;

 private:
  uint64_t value_ = 0;
};

// Rounds a length up to whole pages; fails with ENOMEM when that wraps.
inline Result<uint64_t> PageRoundUp(uint64_t length) {
  uint64_t sum;
  if (__builtin_add_overflow(length, kPageMask, &sum)) return Err(ENOMEM);
  return sum & ~kPageMask;
}

// Half-open range [start, end).
struct GuestRange {
  GuestAddr start;
  GuestAddr end;
  constexpr uint64_t length() const { return end - start; }
  constexpr bool empty() const { return start >= end; }
  constexpr bool Contains(GuestAddr a) const { return start <= a && a < end; }
  constexpr bool Contains(GuestRange r) const { return start <= r.start && r.end <= end; }
  constexpr bool Overlaps(GuestRange r) const { return start < r.end && r.start < end; }
  friend constexpr bool operator==(const GuestRange&, const GuestRange&) = default;
};

}  // namespace sandbox
