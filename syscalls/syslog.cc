// syslog(2): the kernel's log, in which there is one line.
#include <linux/capability.h>
#include <sys/utsname.h>

#include "base/host_sys.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

enum Action {
  kClose,
  kOpen,
  kRead,
  kReadAll,
  kReadClear,
  kClear,
  kConsoleOff,
  kConsoleOn,
  kConsoleLevel,
  kSizeUnread,
  kSizeBuffer
};

constexpr int64_t kBufferBytes = 1 << 17;

std::string LogText() {
  const utsname host = host::Uname();
  return "<5>[    0.000000] Linux version " + std::string(host.release) + "\n";
}

// In Linux's order (do_syslog): who asks, then what. CAP_SYSLOG is over the whole machine; reading all of it needs none
// unless kernel.dmesg_restrict is set, as it is here.
Result<int64_t> SysSyslog(Task& task, int type, GuestAddr buffer, int length) {
  if (type == kClose || type == kOpen) return 0;
  if (type < kClose || type > kSizeBuffer) return Err(EINVAL);
  if (!task.creds().Has(CAP_SYSLOG) && !task.creds().Has(CAP_SYS_ADMIN)) return Err(EPERM);
  switch (type) {
    case kRead:
    case kReadAll:
    case kReadClear: {
      if (buffer.IsNull() || length < 0) return Err(EINVAL);
      const std::string text = LogText();
      const size_t size = std::min<size_t>(text.size(), static_cast<size_t>(length));
      // What was read once by kRead is gone; nothing else ever comes, so nothing was unread.
      if (size == 0 || type == kRead) return 0;
      TRY(task.memory().Write(buffer, text.data(), size));
      return static_cast<int64_t>(size);
    }
    case kConsoleLevel:
      if (length < 1 || length > 8) return Err(EINVAL);
      return 0;
    case kSizeBuffer:
      return kBufferBytes;
    default:
      return 0;
  }
}
SYSCALL_ROW(syslog, Lane::kShort, Support::kPartial, SysSyslog, "one line; the console is nobody's");

}  // namespace
}  // namespace sandbox::syscalls
