// Where the sentry's time goes: how often each system call was served, by the way it came in, and how long that took.
// Always on: a few relaxed additions a call, to counters of the processor it is served on.
#pragma once

#include <cstdint>
#include <vector>

namespace sandbox {

class SyscallProfile {
 public:
  enum class Lane : uint8_t {
    kNotified,  // a notification with number and arguments
    kTrapped,   // with all registers
    kFast,      // from a rewritten site
  };
  struct Row {
    uint64_t nr = 0;  // kOther: numbers beyond the table
    Lane lane = Lane::kNotified;
    uint64_t calls = 0;
    uint64_t busy_ns = 0;   // from the trap until its task may resume, without
    uint64_t slept_ns = 0;  // the time it waited for something
  };
  static constexpr uint64_t kOther = 511;

  static void Record(uint64_t nr, Lane lane, int64_t busy_ns, int64_t slept_ns);
  // What was recorded so far, most busy time first.
  static std::vector<Row> Rows();
};

}  // namespace sandbox
