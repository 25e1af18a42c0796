#include "base/host_futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace sandbox {

bool HostFutexWait(std::atomic<uint32_t>& word, uint32_t expected, std::optional<int64_t> deadline_ns) {
  timespec at = {};
  if (deadline_ns) at = {*deadline_ns / 1'000'000'000, *deadline_ns % 1'000'000'000};
  // The bitset form takes an absolute monotonic time.
  const long r = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, deadline_ns ? &at : nullptr, nullptr,
                         FUTEX_BITSET_MATCH_ANY);
  return !(r < 0 && errno == ETIMEDOUT);
}

void HostFutexWake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

}  // namespace sandbox
