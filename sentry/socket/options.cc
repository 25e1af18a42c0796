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
constexpr size_t kMaxDeviceName = 15;  // IFNAMSIZ without the NUL
constexpr int kTimestampingNew = 65;   // the same as SO_TIMESTAMPING on 64-bit machines

// Linux doubles what was asked for, to leave room for its bookkeeping.
int BufferSize(int asked, int minimum, bool force) {
  const int64_t limited = force ? std::max(asked, 0) : std::min<uint32_t>(static_cast<uint32_t>(asked), kMaxBuffer);
  return static_cast<int>(std::clamp<int64_t>(limited * 2, minimum, std::numeric_limits<int>::max() / 2));
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

namespace {

// What Linux makes of the number.
Result<int> KeptValue(int name, int number) {
  constexpr int kBufferLocks = 3;  // SOCK_SNDBUF_LOCK | SOCK_RCVBUF_LOCK
  constexpr int kBindToInterface = 62, kBufLock = 72;
  switch (name) {
    case SO_INCOMING_CPU:
      return number + 1;  // so that zero is "none"
    case kBindToInterface:
      return number < 0 ? Err(EINVAL) : Result<int>(number);
    case kBufLock:
      return (number & ~kBufferLocks) ? Err(EINVAL) : Result<int>(number);
    case 70:  // SO_BUSY_POLL_BUDGET
      return number;
    default:
      return number != 0;
  }
}

}  // namespace

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

// One network, and the loopback device reaches all of it: the name is checked and kept. Leaving a device, or changing
// it, is for the privileged.
Result<void> SocketOptions::BindToDevice(Context& context, OptionIn value) {
  const std::string_view given(reinterpret_cast<const char*>(value.data()), value.size());
  const std::string_view name = given.substr(0, std::min<size_t>(given.find('\0'), kMaxDeviceName));
  const bool privileged = context.creds().HasIn(*context.net()->owner(), CAP_NET_RAW);
  {
    MutexLock lock(device_mu_);
    if (!device_.empty() && !privileged) return Err(EPERM);
  }
  if (!name.empty()) {
    const NetState network = CurrentNetState(context);
    const auto named = [name](const NetInterface& interface) { return interface.name == name; };
    if (std::none_of(network.interfaces.begin(), network.interfaces.end(), named)) return Err(ENODEV);
  }
  MutexLock lock(device_mu_);
  device_ = name;
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
  if (name == SO_ATTACH_BPF) return Err(lock_filter_.load() ? EPERM : EBADF);  // nobody has a program's descriptor
  const int number = TRY(OptionInt(value));
  if (std::atomic<int>* flag = Flag(name)) {
    flag->store(number != 0);
    return {};
  }
  if (std::atomic<int>* kept = Kept(name)) {
    kept->store(TRY(KeptValue(name, number)));
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
      if (number < 0) return Err(EINVAL);
      busy_poll_.store(number);
      return {};
    case SO_CNX_ADVICE:
      return {};  // hints about routes: there is one
    case SO_BSDCOMPAT:
      return {};
    case SO_MAX_PACING_RATE:
      pacing_rate_.store(static_cast<uint32_t>(number));
      return {};
    case SO_TIMESTAMPING:
    case kTimestampingNew: {
      constexpr int kKnownFlags = (1 << 18) - 1;  // SOF_TIMESTAMPING_MASK of Linux 6.18
      if (number & ~kKnownFlags) return Err(EINVAL);
      time_stamping_.store(number);
      return {};
    }
    case SO_LOCK_FILTER:
      if (lock_filter_.load() && number == 0) return Err(EPERM);
      lock_filter_.store(number != 0);
      return {};
    default:
      return Err(ENOPROTOOPT);
  }
}

Result<std::string> SocketOptions::Get(int name) const {
  if (const std::atomic<int>* flag = Flag(name)) return OptionBytes(flag->load());
  if (std::atomic<int>* kept = const_cast<SocketOptions*>(this)->Kept(name)) {
    constexpr int kBusyPollBudget = 70;
    if (name == kBusyPollBudget) return Err(ENOPROTOOPT);  // Linux reads it back nowhere
    return OptionBytes(name == SO_INCOMING_CPU ? kept->load() - 1 : kept->load());
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
    case SO_BINDTODEVICE: {
      MutexLock lock(device_mu_);
      return device_.empty() ? std::string() : device_ + '\0';
    }
    case SO_TIMESTAMPING:
    case kTimestampingNew: {
      const std::array<int, 2> stamping = {time_stamping_.load(), 0};  // and the clock it is bound to
      return OptionBytes(stamping.data(), sizeof(stamping));
    }
    case SO_BPF_EXTENSIONS:
      return OptionBytes(64);  // Linux: SKF_AD_MAX
    case SO_INCOMING_NAPI_ID:
      return OptionBytes(0);
    case SO_BSDCOMPAT:
      return OptionBytes(0);
    case SO_PEERCRED: {
      const ucred nobody = {0, UINT32_MAX, UINT32_MAX};
      return OptionBytes(&nobody, sizeof(nobody));
    }
    case SO_PEERGROUPS:
      return Err(ENODATA);
    case SO_MEMINFO: {
      // SK_MEMINFO_*: allocated and limit of both directions; the rest is bookkeeping of Linux's.
      std::array<uint32_t, 9> info = {};
      info[1] = static_cast<uint32_t>(receive_buffer_.load());
      info[3] = static_cast<uint32_t>(send_buffer_.load());
      return OptionBytes(info.data(), sizeof(info));
    }
    case SO_MAX_PACING_RATE: {
      const uint32_t rate = pacing_rate_.load();
      const uint64_t shown = rate == UINT32_MAX ? ~uint64_t{0} : rate;
      return OptionBytes(&shown, sizeof(shown));
    }
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
