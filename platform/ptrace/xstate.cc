#include "platform/ptrace/xstate.h"

#include <asm/sigcontext.h>

#include <cstring>

namespace sandbox::platform::ptrace {
namespace {

constexpr size_t kLegacySize = 512;  // FXSAVE area
constexpr size_t kHeaderSize = 64;   // XSAVE header: xstate_bv, xcomp_bv, reserved
constexpr size_t kSoftwareOffset = 464;
constexpr size_t kMxcsrOffset = 24;
constexpr uint64_t kFpSse = 3;
constexpr uint32_t kInitialMxcsr = 0x1f80;
constexpr uint16_t kInitialControl = 0x37f;

}  // namespace

std::vector<uint8_t> FrameFromXstate(std::vector<uint8_t> xstate) {
  const size_t size = xstate.size();
  if (size < kLegacySize + kHeaderSize) return {};
  // The register set keeps XCR0 in the first software-reserved quadword.
  uint64_t xfeatures;
  std::memcpy(&xfeatures, &xstate[kSoftwareOffset], sizeof(xfeatures));
  _fpx_sw_bytes software = {};
  software.magic1 = FP_XSTATE_MAGIC1;
  software.extended_size = static_cast<uint32_t>(size + FP_XSTATE_MAGIC2_SIZE);
  software.xfeatures = xfeatures;
  software.xstate_size = static_cast<uint32_t>(size);
  std::memcpy(&xstate[kSoftwareOffset], &software, sizeof(software));
  xstate.resize(size + FP_XSTATE_MAGIC2_SIZE);
  const uint32_t magic2 = FP_XSTATE_MAGIC2;
  std::memcpy(&xstate[size], &magic2, sizeof(magic2));
  return xstate;
}

Result<std::vector<uint8_t>> XstateFromFrame(std::span<const uint8_t> frame, size_t host_size) {
  if (host_size < kLegacySize + kHeaderSize) return Err(EINVAL);
  std::vector<uint8_t> out(host_size);
  if (frame.empty()) {
    std::memcpy(&out[0], &kInitialControl, sizeof(kInitialControl));
    std::memcpy(&out[kMxcsrOffset], &kInitialMxcsr, sizeof(kInitialMxcsr));
    return out;  // xstate_bv 0: every component in its initial state
  }
  if (frame.size() < kLegacySize) return Err(EINVAL);
  std::memcpy(out.data(), frame.data(), kSoftwareOffset);
  _fpx_sw_bytes software;
  std::memcpy(&software, &frame[kSoftwareOffset], sizeof(software));
  uint64_t present = kFpSse;
  // As the kernel does at sigreturn: anything that is not a proper extended frame is taken for an FXSAVE area.
  uint32_t magic2 = 0;
  const bool extended = software.magic1 == FP_XSTATE_MAGIC1 && software.xstate_size >= kLegacySize + kHeaderSize &&
                        software.xstate_size <= host_size &&
                        frame.size() >= software.xstate_size + FP_XSTATE_MAGIC2_SIZE;
  if (extended) std::memcpy(&magic2, &frame[software.xstate_size], sizeof(magic2));
  if (extended && magic2 == FP_XSTATE_MAGIC2) {
    std::memcpy(&out[kLegacySize], &frame[kLegacySize], software.xstate_size - kLegacySize);
    std::memcpy(&present, &out[kLegacySize], sizeof(present));
    present &= software.xfeatures;
  }
  std::memcpy(&out[kLegacySize], &present, sizeof(present));
  return out;
}

}  // namespace sandbox::platform::ptrace
