// What the sentry says to the zygote and to the fresh stubs that it forks, over unix sockets, before any guest code
// runs in them: no guest ever holds one of these sockets.
#pragma once

#include <cstdint>

namespace sandbox::platform::stub {

enum class ZygoteCall : uint32_t {
  kFork = 1,  // a fresh stub; beside it its thread page and its socket. No answer: the stub reports (StubReport)
  kOpen,      // `file` of the process `pid`, read-only; answered by an int32_t, negative for an errno, with the
              // descriptor beside it
};

// Of /proc/<pid>, proc_pid_status(5) and so on.
enum class ProcessFile : uint32_t { kStatus, kStat, kSmaps };

struct ZygoteRequest {
  ZygoteCall call;
  ProcessFile file;
  int32_t pid;
};

// A fresh stub's own message, with its listener beside it. Its socket ends instead when there is no stub.
struct StubReport {
  int32_t pid;
};

// To a fresh stub: the answer that it waits for is in its page. Beside it come the files of the page's ops, which are
// numbered there in this order.
struct StubStart {
  uint32_t file_count;
};
inline constexpr uint32_t kMaxStartFiles = 16;

// Descriptors of the zygote.
inline constexpr int kZygoteSocket = 0;
inline constexpr int kZygoteClock = 1;  // the clocks' page, until it is mapped
inline constexpr int kZygoteProc = 3;   // PlatformOptions::host_proc
// Of a fresh stub, until it starts. The filter lets nobody send or receive on another.
inline constexpr int kStubSocket = 3;

}  // namespace sandbox::platform::stub
