// Typed access to guest memory. A guest pointer is a number with a direction; there is no operator*. Each read copies
// once into sentry memory, so what was validated is what is used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/guest_addr.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox {

// One address space as lower layers see it. Implemented over platform::AddressSpace by the task.
class GuestMemory {
 public:
  virtual ~GuestMemory() = default;
  // Copy what is accessible from the front; EFAULT when not even the first byte is. Zero sizes succeed.
  virtual Result<size_t> ReadSome(GuestAddr from, void* to, size_t size) = 0;
  virtual Result<size_t> WriteSome(GuestAddr to, const void* from, size_t size) = 0;
  // Room for up to `size` bytes on their way to `to`, for a writer that can fill it in place of a buffer of its own, or
  // null. Commit sends the first `size` of them on. Nothing else is read or written in between.
  virtual char* Reserve(GuestAddr /*to*/, size_t /*size*/) { return nullptr; }
  virtual void Commit(GuestAddr /*to*/, size_t /*size*/) {}
  // Has the memory's own process read `size` bytes of the regular file `fd` at `offset`, as pread(2) does. `fd` must be
  // opened with the guest's rights only. Nothing was done when that is not possible, or not worth while (nullopt).
  virtual std::optional<Result<size_t>> ReadFile(GuestAddr /*to*/, size_t /*size*/, BorrowedFd /*fd*/,
                                                 uint64_t /*offset*/) {
    return std::nullopt;
  }
  // Writes may reach the memory only when the call returns. This has them there now: for calls that tell somebody else.
  virtual void Settle() {}

  // All or EFAULT (a prefix may have been written).
  Result<void> Read(GuestAddr from, void* to, size_t size) {
    if (size == 0) return {};
    if (TRY(ReadSome(from, to, size)) != size) return Err(EFAULT);
    return {};
  }
  Result<void> Write(GuestAddr to, const void* from, size_t size) {
    if (size == 0) return {};
    if (TRY(WriteSome(to, from, size)) != size) return Err(EFAULT);
    return {};
  }
  // NUL-terminated string of at most `max` bytes counting the NUL; `too_long` (ENAMETOOLONG for paths) otherwise.
  Result<std::string> ReadString(GuestAddr from, size_t max, int too_long);
};

enum class Dir { kIn, kOut, kInOut };

// What may cross the boundary: bytes whose every bit is defined.
template <typename T>
concept GuestType = std::is_trivially_copyable_v<T>;

template <typename T, Dir D>
class GuestPtr {
 public:
  constexpr GuestPtr() = default;
  constexpr explicit GuestPtr(GuestAddr addr) : addr_(addr) {}
  constexpr GuestAddr addr() const { return addr_; }
  constexpr bool IsNull() const { return addr_.IsNull(); }

  Result<T> Read(GuestMemory& memory) const requires(D != Dir::kOut && GuestType<T>) {
    T value;
    TRY(memory.Read(addr_, &value, sizeof(T)));
    return value;
  }
  Result<void> Write(GuestMemory& memory, const T& value) const requires(D != Dir::kIn && GuestType<T>) {
    return memory.Write(addr_, &value, sizeof(T));
  }
  // Element access for arrays passed as a first-element pointer; `count` is bounded by the caller before the call.
  Result<std::vector<T>> ReadArray(GuestMemory& memory, size_t count) const requires(D != Dir::kOut && GuestType<T>) {
    std::vector<T> values(count);
    TRY(memory.Read(addr_, values.data(), count * sizeof(T)));
    return values;
  }
  Result<void> WriteArray(GuestMemory& memory, std::span<const T> values) const
      requires(D != Dir::kIn && GuestType<T>) {
    return memory.Write(addr_, values.data(), values.size_bytes());
  }

 private:
  GuestAddr addr_;
};

template <typename T>
using InPtr = GuestPtr<T, Dir::kIn>;
template <typename T>
using OutPtr = GuestPtr<T, Dir::kOut>;
template <typename T>
using InOutPtr = GuestPtr<T, Dir::kInOut>;

// A NUL-terminated guest string argument (path, name).
class GuestStr {
 public:
  constexpr GuestStr() = default;
  constexpr explicit GuestStr(GuestAddr addr) : addr_(addr) {}
  constexpr GuestAddr addr() const { return addr_; }
  constexpr bool IsNull() const { return addr_.IsNull(); }
  // A path: at most PATH_MAX bytes, ENAMETOOLONG beyond, EFAULT for a bad pointer.
  Result<std::string> ReadPath(GuestMemory& memory) const;
  Result<std::string> Read(GuestMemory& memory, size_t max, int too_long) const {
    return memory.ReadString(addr_, max, too_long);
  }

 private:
  GuestAddr addr_;
};

// struct iovec as the guest lays it out.
struct GuestIovec {
  uint64_t base;
  uint64_t length;
};

// A scatter/gather buffer that reads or writes consume from the front: guest memory, or sentry memory for transfers
// inside the kernel (splice, exec, core). Transfers are partial at a fault: the byte count is what was moved.
class IoSequence {
 public:
  // Linux's MAX_RW_COUNT: larger requests are cut to it.
  static constexpr size_t kMaxBytes = 0x7ffff000;

  static IoSequence Kernel(void* data, size_t size);  // caller keeps the bytes alive
  static IoSequence Guest(GuestMemory& memory, GuestAddr addr, size_t size);
  // EINVAL for more than IOV_MAX entries or a negative or overflowing total, EFAULT for an unreadable array.
  static Result<IoSequence> GuestIovecs(GuestMemory& memory, GuestAddr iov, uint64_t count);

  size_t remaining() const { return remaining_; }
  bool empty() const { return remaining_ == 0; }
  // Limits what is left.
  void Truncate(size_t size);

  // Moves up to `size` bytes into the sequence (a read's destination) and consumes them. Returns the count; EFAULT
  // only when nothing could be moved and size and remaining() are not zero.
  Result<size_t> CopyOut(const void* from, size_t size);
  // Moves up to `size` bytes out of the sequence (a write's source) and consumes them.
  Result<size_t> CopyIn(void* to, size_t size);
  // As CopyIn without consuming: for a destination that learns only under its lock how much it accepts (Advance).
  Result<size_t> PeekIn(void* to, size_t size) const;
  Result<size_t> ZeroOut(size_t size);
  // In place of CopyOut: where the next `size` bytes may be put directly, or null; then how many were (Commit), which
  // consumes them.
  char* Reserve(size_t size);
  void Commit(size_t size);
  // In place of CopyOut: GuestMemory::ReadFile into the next bytes, at most `size`, and consumes what was read.
  std::optional<Result<size_t>> ReadFile(size_t size, BorrowedFd fd, uint64_t offset);
  // Skips bytes that were moved by other means.
  void Advance(size_t size);

 private:
  struct Segment {
    uint64_t base;  // guest address, or sentry pointer when memory_ is null
    size_t size;
  };
  GuestMemory* memory_ = nullptr;
  Result<size_t> CopySegmentIn(const Segment& segment, void* to, size_t size) const;

  std::vector<Segment> segments_;
  size_t index_ = 0;
  size_t remaining_ = 0;
};

}  // namespace sandbox
