// A socket address as bytes (struct sockaddr with its length). Each family interprets its own.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sandbox {

struct SocketAddress {
  static constexpr size_t kMaxSize = sizeof(sockaddr_storage);  // Linux: longer ones are EINVAL

  alignas(8) std::array<uint8_t, kMaxSize> bytes{};
  uint32_t size = 0;  // 0 = none

  bool empty() const { return size == 0; }
  // AF_UNSPEC for addresses too short to have one.
  uint16_t family() const {
    uint16_t value = AF_UNSPEC;
    if (size >= sizeof(value)) std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  // Reads a fixed-size address; what `size` does not cover is zero.
  template <typename T>
  T As() const {
    static_assert(sizeof(T) <= kMaxSize);
    T value{};
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  template <typename T>
  static SocketAddress From(const T& value, uint32_t size = sizeof(T)) {
    SocketAddress address;
    std::memcpy(address.bytes.data(), &value, sizeof(T));
    address.size = size;
    return address;
  }
};

}  // namespace sandbox
