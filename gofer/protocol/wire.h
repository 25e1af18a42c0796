// Bounds-checked encoding and decoding of messages. Errors are sticky: a caller decodes everything and asks ok() once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace sandbox::gofer {

// Only types without padding cross, so that no stray bytes of either process leak to the other.
template <typename T>
concept WireType = std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T>;

class Writer {
 public:
  explicit Writer(std::span<std::byte> buffer) : buffer_(buffer) {}

  template <WireType T>
  void Put(const T& value) {
    PutBytes(&value, sizeof(T));
  }
  // A 16-bit length and the bytes.
  void PutString(std::string_view text) {
    if (text.size() > UINT16_MAX) return Fail();
    Put(static_cast<uint16_t>(text.size()));
    PutBytes(text.data(), text.size());
  }
  // Replaces what was Put at `offset`.
  template <WireType T>
  void PutAt(size_t offset, const T& value) {
    if (offset > size_ || sizeof(T) > size_ - offset) return Fail();
    std::memcpy(buffer_.data() + offset, &value, sizeof(T));
  }
  // Drops everything after `size`: how a record that did not fit is undone.
  void Rewind(size_t size) {
    if (size <= size_) size_ = size;
    ok_ = true;
  }

  bool ok() const { return ok_; }
  size_t size() const { return size_; }
  size_t room() const { return buffer_.size() - size_; }
  std::span<const std::byte> bytes() const { return buffer_.first(size_); }

 private:
  void PutBytes(const void* data, size_t size) {
    if (!ok_ || size > room()) return Fail();
    if (size > 0) std::memcpy(buffer_.data() + size_, data, size);
    size_ += size;
  }
  void Fail() { ok_ = false; }

  std::span<std::byte> buffer_;
  size_t size_ = 0;
  bool ok_ = true;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  // Zero when the message is too short.
  template <WireType T>
  T Get() {
    T value{};
    if (!ok_ || sizeof(T) > bytes_.size()) {
      ok_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
    return value;
  }
  // Points into the message. Empty when it is too short or the string longer than `max`.
  std::string_view GetString(size_t max) {
    const size_t size = Get<uint16_t>();
    if (!ok_ || size > max || size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return text;
  }

  bool ok() const { return ok_; }
  // The message was well formed and nothing is left over.
  bool Done() const { return ok_ && bytes_.empty(); }
  size_t left() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

// True for what may be one component of a path: not empty, "." or "..", no slash, no NUL, at most NAME_MAX bytes.
inline bool ValidName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

}  // namespace sandbox::gofer
