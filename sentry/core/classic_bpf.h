// Classic BPF (linux/filter.h; Linux: net/core/filter.c): check and interpreter for the programs of seccomp(2) and of
// socket filters. A program comes from the guest and runs in the sentry: what the check accepts ends after at most as
// many steps as it has instructions, since jumps only go forward.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"

namespace sandbox {

enum class BpfKind {
  kCall,    // seccomp(2): 32-bit loads of a structure
  kPacket,  // socket(7): bytes of a packet, and SKF_AD_* about it
};

// What a program looks at.
class BpfInput {
 public:
  virtual ~BpfInput() = default;
  virtual uint32_t length() const = 0;
  // The number of `bytes` (1, 2, 4) at `offset`; nullopt ends the program.
  virtual std::optional<uint32_t> Load(uint32_t offset, int bytes) const = 0;
};

// EINVAL for an empty or too long program, an instruction its kind does not know, a jump past the end, scratch memory
// read before it is written, division by a constant 0, or a last instruction that is no return. Offsets of loads are
// the caller's to check.
Result<void> CheckBpf(std::span<const sock_filter> program, BpfKind kind);

// What the program returns, nullopt when a load ended it. Precondition: it passed the check.
std::optional<uint32_t> RunBpf(std::span<const sock_filter> program, const BpfInput& input);

}  // namespace sandbox
