#include "sentry/socket/options.h"

#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "abi/socket.h"
#include "sentry/socket/interfaces.h"

namespace sandbox {
namespace {

constexpr int kMaxBuffer = 212992;       // net.core.wmem_max, rmem_max
constexpr int kMinSendBuffer = 4608;     // Linux: SOCK_MIN_SNDBUF
constexpr int kMinReceiveBuffer = 2304;  // Linux: SOCK_MIN_RCVBUF
constexpr int kMaxPriorityUnprivileged = 6;

// Linux doubles what was asked for, to leave room for its bookkeeping.
int BufferSize(int asked, int minimum, bool force) {
  const int64_t limited = force ? std::max(asked, 0) : std::min<uint32_t>(static_cast<uint32_t>(asked), kMaxBuffer);
  return static_cast<int>(std::clamp<int64_t>(limited * 2, minimum, std::numeric_limits<int>::max() / 2));
}

// One network, and the loopback device reaches all of it: only the name is checked.
Result<void> BindToDevice(Context& context, OptionIn value) {
  const std::string_view given(reinterpret_cast<const char*>(value.data()), value.size());
  const std::string_view name = given.substr(0, given.find('\0'));
  if (name.empty()) return {};
  const NetState network = CurrentNetState(context);
  for (const NetInterface& interface : network.interfaces) {
    if (interface.name == name) return {};
  }
  return Err(ENODEV);
}

timeval ToTimeval(int64_t ns) { return {ns / 1'000'000'000, ns % 1'000'000'000 / 1000}; }

}  // namespace

Result<int> OptionInt(OptionIn value) {
  if (value.size() < sizeof(int)) return Err(EINVAL);
  int out;
  std::memcpy(&out, value.data(), sizeof(out));
  return out;
}

std::string OptionBytes(const void* data, size_t size) { return std::string(static_cast<const char*>(data), size); }

// Options that are plain switches without effect inside the sandbox, or read by the families.
std::atomic<int>* SocketOptions::Flag(int name) {
  switch (name) {
    case SO_PASSCRED:
      return &pass_credentials_;
    case abi::kSoPassPidfd:
      return &pass_pidfd_;
    case SO_REUSEADDR:
      return &reuse_address_;
    case SO_REUSEPORT:
      return &reuse_port_;
    case SO_BROADCAST:
      return &broadcast_;
    case SO_KEEPALIVE:
      return &keep_alive_;
    case SO_OOBINLINE:
      return &oob_inline_;
    case SO_DONTROUTE:
      return &dont_route_;
    case SO_DEBUG:
      return &debug_;
    case SO_NO_CHECK:
      return &no_check_;
    case SO_RXQ_OVFL:
      return &rx_queue_overflow_;
    case SO_PASSSEC:
      return &pass_security_;
    case SO_SELECT_ERR_QUEUE:
      return &select_error_queue_;
    case SO_ZEROCOPY:
      return &zero_copy_;
    case SO_NOFCS:
      return &no_fcs_;
    case SO_WIFI_STATUS:
      return &wifi_status_;
    default:
      return nullptr;
  }
}

// SO_INCOMING_CPU, SO_BINDTOIFINDEX, SO_PREFER_BUSY_POLL, SO_BUSY_POLL_BUDGET, SO_BUF_LOCK, SO_RCVMARK,
// SO_RCVPRIORITY.
std::atomic<int>* SocketOptions::Kept(int name) {
  const auto it = std::find(kKept.begin(), kKept.end(), name);
  return it == kKept.end() ? nullptr : &kept_[it - kKept.begin()];
}

Result<void> SocketOptions::SetTimeout(OptionIn value, std::atomic<int64_t>& timeout) {
  timeval tv;
  if (value.size() < sizeof(tv)) return Err(EINVAL);
  std::memcpy(&tv, value.data(), sizeof(tv));
  if (tv.tv_usec < 0 || tv.tv_usec >= 1'000'000) return Err(EDOM);
  // Linux: negative seconds mean "do not wait", which we express as the shortest wait.
  const int64_t seconds = std::min<int64_t>(tv.tv_sec, std::numeric_limits<int32_t>::max());
  timeout.store(tv.tv_sec < 0 ? 1 : seconds * 1'000'000'000 + tv.tv_usec * 1000);
  return {};
}

Result<void> SocketOptions::SetLinger(OptionIn value) {
  struct linger linger;
  if (value.size() < sizeof(linger)) return Err(EINVAL);
  std::memcpy(&linger, value.data(), sizeof(linger));
  linger_on_.store(linger.l_onoff != 0);
  if (linger.l_onoff != 0) linger_seconds_.store(linger.l_linger);
  return {};
}

Result<void> SocketOptions::Set(Context& context, int name, OptionIn value) {
  constexpr int kReceiveTimeoutNew = 66, kSendTimeoutNew = 67;  // the same on 64-bit machines
  if (name == kReceiveTimeoutNew) name = SO_RCVTIMEO;
  if (name == kSendTimeoutNew) name = SO_SNDTIMEO;
  if (name == SO_RCVTIMEO) return SetTimeout(value, receive_timeout_ns_);
  if (name == SO_SNDTIMEO) return SetTimeout(value, send_timeout_ns_);
  if (name == SO_LINGER) return SetLinger(value);
  if (name == SO_BINDTODEVICE) return BindToDevice(context, value);
  if (name == SO_ATTACH_FILTER || name == SO_ATTACH_BPF) return Err(EPERM);
  const int number = TRY(OptionInt(value));
  if (std::atomic<int>* flag = Flag(name)) {
    flag->store(number != 0);
    return {};
  }
  if (std::atomic<int>* kept = Kept(name)) {
    kept->store(number);
    return {};
  }
  const bool admin = context.creds().HasIn(*context.net()->owner(), CAP_NET_ADMIN);
  switch (name) {
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
      if (!admin) return Err(EPERM);
      [[fallthrough]];
    case SO_SNDBUF:
    case SO_RCVBUF: {
      const bool send = name == SO_SNDBUF || name == SO_SNDBUFFORCE;
      const bool force = name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE;
      (send ? send_buffer_ : receive_buffer_)
          .store(BufferSize(number, send ? kMinSendBuffer : kMinReceiveBuffer, force));
      return {};
    }
    case SO_RCVLOWAT:
      receive_low_water_.store(number < 0 ? std::numeric_limits<int>::max() : std::max(number, 1));
      return {};
    case SO_PRIORITY:
      if ((number < 0 || number > kMaxPriorityUnprivileged) && !admin) return Err(EPERM);
      priority_.store(number);
      return {};
    case SO_MARK:
      if (!admin) return Err(EPERM);
      mark_.store(number);
      return {};
    case SO_TIMESTAMP:
    case SO_TIMESTAMPNS:
      timestamp_option_.store(number != 0 ? name : 0);
      return {};
    case SO_BUSY_POLL:
      busy_poll_.store(number);
      return {};
    case SO_BSDCOMPAT:
    case SO_MAX_PACING_RATE:
      return {};
    case SO_LOCK_FILTER:
      if (lock_filter_.load() && number == 0) return Err(EPERM);
      lock_filter_.store(number != 0);
      return {};
    case SO_DETACH_FILTER:
      return Err(ENOENT);
    default:
      return Err(ENOPROTOOPT);
  }
}

Result<std::string> SocketOptions::Get(int name) const {
  if (const std::atomic<int>* flag = Flag(name)) return OptionBytes(flag->load());
  if (std::atomic<int>* kept = const_cast<SocketOptions*>(this)->Kept(name)) {
    return OptionBytes(name == SO_INCOMING_CPU && kept->load() == 0 ? -1 : kept->load());
  }
  switch (name) {
    case 66:  // SO_RCVTIMEO_NEW
      name = SO_RCVTIMEO;
      break;
    case 67:  // SO_SNDTIMEO_NEW
      name = SO_SNDTIMEO;
      break;
    default:
      break;
  }
  switch (name) {
    case SO_SNDBUF:
      return OptionBytes(send_buffer_.load());
    case SO_RCVBUF:
      return OptionBytes(receive_buffer_.load());
    case SO_RCVLOWAT:
      return OptionBytes(receive_low_water_.load());
    case SO_SNDLOWAT:
      return OptionBytes(1);
    case SO_PRIORITY:
      return OptionBytes(priority_.load());
    case SO_MARK:
      return OptionBytes(mark_.load());
    case SO_BUSY_POLL:
      return OptionBytes(busy_poll_.load());
    case SO_LOCK_FILTER:
      return OptionBytes(lock_filter_.load());
    case SO_TIMESTAMP:
    case SO_TIMESTAMPNS:
      return OptionBytes(timestamp_option_.load() == name ? 1 : 0);
    case SO_BINDTODEVICE:
      return std::string();
    case SO_BPF_EXTENSIONS:
      return OptionBytes(64);  // Linux: SKF_AD_MAX
    case SO_INCOMING_NAPI_ID:
      return OptionBytes(0);
    case SO_BSDCOMPAT:
      return OptionBytes(0);
    case SO_MAX_PACING_RATE: {
      const uint64_t unlimited = ~uint64_t{0};
      return OptionBytes(&unlimited, sizeof(unlimited));
    }
    case SO_ATTACH_FILTER:
      return std::string();
    case SO_LINGER: {
      const struct linger linger = {linger_on_.load(), linger_seconds_.load()};
      return OptionBytes(&linger, sizeof(linger));
    }
    case SO_RCVTIMEO:
    case SO_SNDTIMEO: {
      const timeval tv = ToTimeval(name == SO_RCVTIMEO ? receive_timeout_ns_.load() : send_timeout_ns_.load());
      return OptionBytes(&tv, sizeof(tv));
    }
    default:
      return Err(ENOPROTOOPT);
  }
}

}  // namespace sandbox
