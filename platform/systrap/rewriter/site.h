// What a call site looks like in bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace sandbox::platform::systrap {

inline constexpr size_t kSyscallSize = 2;  // 0f 05

struct Site {
  enum class Kind { kLoad, kTail } kind;
  size_t patch_at;    // where the jump goes: the mov of a load, the syscall of a tail
  size_t moved_size;  // kTail: bytes of the one instruction behind the syscall
  bool returns;       // kTail: the moved instruction is a ret, nothing comes after it
};

// What could be patched at the bytes 0f 05 at `at`, if they and what they are judged by are instructions. The patterns
// are so specific that data hardly looks like them; BoundaryProver excludes the rest. None = not a site of that kind.
std::optional<Site> RecogniseLoad(std::span<const uint8_t> text, size_t at);
std::optional<Site> RecogniseTail(std::span<const uint8_t> text, size_t at);

}  // namespace sandbox::platform::systrap
