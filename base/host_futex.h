// A word that sentry threads sleep on (futex(2) on our own memory).
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

namespace sandbox {

// Sleeps while `word` holds `expected`, until a wake or the absolute CLOCK_MONOTONIC deadline. Spurious returns happen.
// False at the deadline.
bool HostFutexWait(std::atomic<uint32_t>& word, uint32_t expected, std::optional<int64_t> deadline_ns);
void HostFutexWake(std::atomic<uint32_t>& word, int count);

}  // namespace sandbox
