// What system calls read of guest memory, by call number: a platform whose threads come with their arguments in hand
// may take such bytes along, so that nobody has to fetch them (Thread::ReadInput).
#pragma once

#include <cstdint>

namespace sandbox::platform {

struct CallInput {
  enum class Kind : uint8_t {
    kNone,
    kString,   // the page's rest, at most kStringStep bytes
    kFixed,    // `unit` bytes
    kCounted,  // `unit` times argument `count_argument`
  };
  Kind kind = Kind::kNone;
  uint8_t argument = 0;  // the address
  uint8_t count_argument = 0;
  uint8_t unit = 0;
};
static_assert(sizeof(CallInput) == 4);

inline constexpr uint32_t kMaxCallInputs = 2;
inline constexpr uint32_t kCallNumbers = 512;
// Strings are read in steps of so many bytes, none of which crosses a page.
inline constexpr uint64_t kStringStep = 256;

// By system call number.
struct InputTable {
  CallInput inputs[kCallNumbers][kMaxCallInputs];
};

}  // namespace sandbox::platform
