// What the sentry asks of the zygote over its socket: one message each, answered by one that starts with an int32_t,
// negative for an errno. The sentry is trusted by the zygote; no guest ever holds the socket.
#pragma once

#include <cstdint>

namespace sandbox::platform::stub {

enum class ZygoteCall : uint32_t {
  kFork = 1,  // a pool stub whose thread page is the descriptor beside the request; answer: its pid
  kOpen,      // `file` of the process `pid`, read-only; the descriptor goes beside the answer
};

// Of /proc/<pid>, proc_pid_status(5) and so on.
enum class ProcessFile : uint32_t { kStatus, kStat, kSmaps };

struct ZygoteRequest {
  ZygoteCall call;
  ProcessFile file;
  int32_t pid;
};

// Descriptors of the zygote.
inline constexpr int kZygoteSocket = 0;
inline constexpr int kZygoteClock = 1;  // the clocks' page, until it is mapped
inline constexpr int kZygoteProc = 3;   // PlatformOptions::host_proc

}  // namespace sandbox::platform::stub
