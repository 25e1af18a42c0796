// The SOL_SOCKET options that every family treats alike (socket(7); Linux: sk_setsockopt, sk_getsockopt).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "sentry/core/context.h"

namespace sandbox {

// Option values as bytes, bounded by the system call.
using OptionIn = std::span<const uint8_t>;

// int option values: EINVAL when shorter than an int.
Result<int> OptionInt(OptionIn value);
std::string OptionBytes(const void* data, size_t size);
inline std::string OptionBytes(int value) { return OptionBytes(&value, sizeof(value)); }

class SocketOptions {
 public:
  // ENOPROTOOPT for options it does not know.
  Result<void> Set(Context& context, int name, OptionIn value);
  Result<std::string> Get(int name) const;

  bool pass_pidfd() const { return pass_pidfd_.load(std::memory_order_relaxed); }
  bool pass_credentials() const { return pass_credentials_.load(std::memory_order_relaxed); }
  bool reuse_address() const { return reuse_address_.load(std::memory_order_relaxed); }
  bool reuse_port() const { return reuse_port_.load(std::memory_order_relaxed); }
  bool filter_locked() const { return lock_filter_.load(std::memory_order_relaxed) != 0; }
  bool urgent_inline() const { return oob_inline_.load(std::memory_order_relaxed); }
  bool broadcast() const { return broadcast_.load(std::memory_order_relaxed); }
  int send_buffer() const { return send_buffer_.load(std::memory_order_relaxed); }
  int receive_buffer() const { return receive_buffer_.load(std::memory_order_relaxed); }
  // 0 = none.
  int64_t send_timeout_ns() const { return send_timeout_ns_.load(std::memory_order_relaxed); }
  int64_t receive_timeout_ns() const { return receive_timeout_ns_.load(std::memory_order_relaxed); }
  int receive_low_water() const { return receive_low_water_.load(std::memory_order_relaxed); }
  bool linger_on() const { return linger_on_.load(std::memory_order_relaxed); }
  int linger_seconds() const { return linger_seconds_.load(std::memory_order_relaxed); }
  int timestamp_option() const { return timestamp_option_.load(std::memory_order_relaxed); }  // SO_TIMESTAMP* or 0

 private:
  Result<void> SetTimeout(OptionIn value, std::atomic<int64_t>& timeout);
  Result<void> SetLinger(OptionIn value);
  Result<void> BindToDevice(Context& context, OptionIn value);
  std::atomic<int>* Flag(int name);
  const std::atomic<int>* Flag(int name) const { return const_cast<SocketOptions*>(this)->Flag(name); }

  std::atomic<int> pass_credentials_{0}, pass_pidfd_{0}, reuse_address_{0}, reuse_port_{0}, broadcast_{0},
      keep_alive_{0}, oob_inline_{0}, dont_route_{0}, debug_{0}, no_check_{0}, rx_queue_overflow_{0}, pass_security_{0},
      select_error_queue_{0}, zero_copy_{0}, no_fcs_{0}, wifi_status_{0}, lock_filter_{0};
  std::atomic<int> send_buffer_{212992}, receive_buffer_{212992}, receive_low_water_{1}, priority_{0}, mark_{0},
      busy_poll_{0};
  // Numbers that change nothing here, kept to be read back.
  static constexpr std::array<int, 7> kKept = {49, 62, 69, 70, 72, 75, 82};
  std::array<std::atomic<int>, kKept.size()> kept_{};
  std::atomic<int>* Kept(int name);
  std::atomic<int64_t> send_timeout_ns_{0}, receive_timeout_ns_{0};
  std::atomic<bool> linger_on_{false};
  std::atomic<int> linger_seconds_{0};
  std::atomic<int> timestamp_option_{0};
  std::atomic<int> time_stamping_{0};  // SOF_TIMESTAMPING_*, kept only
  std::atomic<uint32_t> pacing_rate_{UINT32_MAX};
  mutable Mutex device_mu_{LockRank::kLeaf};
  std::string device_ GUARDED_BY(device_mu_);  // SO_BINDTODEVICE; empty = none
};

}  // namespace sandbox
