// The extended-state part of an x86-64 signal frame: an FXSAVE area whose reserved bytes say how large the whole is,
// the XSAVE header and components, and a closing magic (Linux: asm/sigcontext.h, struct _fpx_sw_bytes and _xstate).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace sandbox::arch {

// More than any processor needs (AMX included).
inline constexpr size_t kMaxFpStateSize = 16384;

// Size of the state that starts at the front of `bytes`, both magics and the header checked. EINVAL when malformed.
Result<size_t> FpStateSize(std::span<const uint8_t> bytes);

// Whether `state` may replace `current` (a well-formed state of this host): same size, no feature or header bit that
// `current` does not have. EINVAL otherwise. rt_sigreturn would refuse such a state and kill the thread.
Result<void> ValidateFpState(std::span<const uint8_t> state, std::span<const uint8_t> current);

// A bare FXSAVE area: what a program without XSAVE stores in its signal frame (Linux accepts one without magics).
inline constexpr size_t kFxsaveSize = 512;
// Puts one into a well-formed state; the components beyond it become initial. EINVAL for reserved bits in MXCSR.
Result<void> SetLegacyState(std::span<uint8_t> state, std::span<const uint8_t> legacy);

// What a frame's state is made of, the same for every thread of a host.
struct FpLayout {
  uint32_t state_size = 0;  // without the closing magic
  uint64_t features = 0;    // components of XSAVE
  size_t frame_size() const { return state_size + sizeof(uint32_t); }
};
// Of a well-formed state.
FpLayout LayoutOf(std::span<const uint8_t> state);

// A frame's state as debuggers and core files have it (NT_X86_XSTATE): without the closing magic, the components' mask
// where the frame's software bytes are. At least kFxsaveSize bytes, the first of which are NT_PRFPREG.
std::vector<uint8_t> DebuggerState(std::vector<uint8_t> frame_state);

// Turns a well-formed state into the one a program starts with.
void InitFpState(std::span<uint8_t> state);

}  // namespace sandbox::arch
