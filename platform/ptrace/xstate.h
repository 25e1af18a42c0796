// Extended processor state between the two layouts Linux uses: PTRACE_GETREGSET's NT_X86_XSTATE and the fpstate of a
// signal frame. Both are the uncompacted XSAVE area; they differ in the 48 software-reserved bytes, which in a frame
// carry the magics that tell user space how much follows (arch/x86/include/uapi/asm/sigcontext.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace sandbox::platform::ptrace {

// Host register set -> frame layout.
std::vector<uint8_t> FrameFromXstate(std::vector<uint8_t> xstate);
// Frame layout -> host register set of `host_size` bytes. Accepts a full frame, or a bare 512-byte FXSAVE area (which
// resets the rest), or nothing (initial state). EINVAL for anything else.
Result<std::vector<uint8_t>> XstateFromFrame(std::span<const uint8_t> frame, size_t host_size);

}  // namespace sandbox::platform::ptrace
