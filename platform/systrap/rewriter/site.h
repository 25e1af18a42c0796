// What a call site looks like in bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace sandbox::platform::systrap {

inline constexpr size_t kSyscallSize = 2;  // 0f 05

struct Site {
  enum class Kind { kLoad, kTail } kind;
  size_t patch_at;  // where the jump goes: the mov of a load, the syscall of a tail
  // Bytes of the one instruction that moves to the trampoline: behind the syscall of a tail; of a load, the one that
  // stands between the mov and the syscall, if any.
  size_t moved_size;
  bool returns;                // kTail: the moved instruction is a ret, nothing comes after it
  size_t displacement_at = 0;  // kLoad: where the moved instruction has a displacement from itself; 0 = nowhere
};

// What could be patched at the bytes 0f 05 at `at`, if they and what they are judged by are instructions. The patterns
// are so specific that data hardly looks like them; BoundaryProver excludes the rest. None = not a site of that kind.
std::optional<Site> RecogniseLoad(std::span<const uint8_t> text, size_t at);
std::optional<Site> RecogniseTail(std::span<const uint8_t> text, size_t at);

}  // namespace sandbox::platform::systrap
