#include "platform/arch/fpstate.h"

#include <cstring>

namespace sandbox::arch {
namespace {

constexpr size_t kLegacySize = 512, kHeaderSize = 64, kControlOffset = 0, kMxcsrOffset = 24, kMxcsrMaskOffset = 28,
                 kSoftwareOffset = 464, kHeaderOffset = 512;
constexpr uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;
constexpr uint16_t kInitialControl = 0x37f;
constexpr uint32_t kInitialMxcsr = 0x1f80, kDefaultMxcsrMask = 0xffbf;

struct SoftwareBytes {
  uint32_t magic1;
  uint32_t extended_size;
  uint64_t features;
  uint32_t state_size;
  uint32_t padding[7];
};
static_assert(kSoftwareOffset + sizeof(SoftwareBytes) == kLegacySize);

struct Header {
  uint64_t present, compaction, reserved[6];
};
static_assert(sizeof(Header) == kHeaderSize);

template <typename T>
T Get(std::span<const uint8_t> bytes, size_t offset) {
  T value;
  CHECK(offset + sizeof(T) <= bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

constexpr uint64_t kX87AndSse = 3;

// `current` tells which bits the processor knows.
Result<void> CheckMxcsr(std::span<const uint8_t> state, std::span<const uint8_t> current) {
  uint32_t mask = Get<uint32_t>(current, kMxcsrMaskOffset);
  if (mask == 0) mask = kDefaultMxcsrMask;
  if ((Get<uint32_t>(state, kMxcsrOffset) & ~mask) != 0) return Err(EINVAL);
  return {};
}

}  // namespace

Result<size_t> FpStateSize(std::span<const uint8_t> bytes) {
  if (bytes.size() < kLegacySize + kHeaderSize) return Err(EINVAL);
  const auto software = Get<SoftwareBytes>(bytes, kSoftwareOffset);
  if (software.magic1 != kMagic1 || software.state_size < kLegacySize + kHeaderSize ||
      software.state_size > kMaxFpStateSize || software.extended_size != software.state_size + sizeof(kMagic2) ||
      software.extended_size > bytes.size()) {
    return Err(EINVAL);
  }
  if (Get<uint32_t>(bytes, software.state_size) != kMagic2) return Err(EINVAL);
  return software.extended_size;
}

Result<void> ValidateFpState(std::span<const uint8_t> state, std::span<const uint8_t> current) {
  if (TRY(FpStateSize(state)) != state.size() || state.size() != current.size()) return Err(EINVAL);
  const auto software = Get<SoftwareBytes>(state, kSoftwareOffset);
  const auto host = Get<SoftwareBytes>(current, kSoftwareOffset);
  const auto header = Get<Header>(state, kHeaderOffset);
  if ((software.features & ~host.features) != 0 || (header.present & ~host.features) != 0) return Err(EINVAL);
  if (header.compaction != 0) return Err(EINVAL);
  for (uint64_t word : header.reserved) {
    if (word != 0) return Err(EINVAL);
  }
  return CheckMxcsr(state, current);
}

Result<void> SetLegacyState(std::span<uint8_t> state, std::span<const uint8_t> legacy) {
  CHECK(legacy.size() == kFxsaveSize && state.size() >= kLegacySize + kHeaderSize);
  TRY(CheckMxcsr(legacy, state));
  const auto mask = Get<uint32_t>(state, kMxcsrMaskOffset);
  std::memcpy(state.data(), legacy.data(), kSoftwareOffset);  // the size fields behind it stay the frame's
  std::memcpy(state.data() + kMxcsrMaskOffset, &mask, sizeof(mask));
  const Header header = {kX87AndSse, 0, {}};
  std::memcpy(state.data() + kHeaderOffset, &header, sizeof(header));
  return {};
}

FpLayout LayoutOf(std::span<const uint8_t> state) {
  const auto software = Get<SoftwareBytes>(state, kSoftwareOffset);
  return {software.state_size, software.features};
}

std::vector<uint8_t> DebuggerState(std::vector<uint8_t> state) {
  if (state.size() < kFxsaveSize) state.resize(kFxsaveSize);
  if (state.size() <= kFxsaveSize + sizeof(uint32_t)) return state;
  state.resize(state.size() - sizeof(uint32_t));
  const uint64_t features = Get<SoftwareBytes>(state, kSoftwareOffset).features;
  std::memcpy(state.data() + kSoftwareOffset, &features, sizeof(features));
  return state;
}

void InitFpState(std::span<uint8_t> state) {
  CHECK(state.size() >= kLegacySize + kHeaderSize);
  const auto mask = Get<uint32_t>(state, kMxcsrMaskOffset);
  // Components whose bit is clear in the header are initialised by XRSTOR; MXCSR always comes from memory.
  std::memset(state.data(), 0, kSoftwareOffset);
  std::memset(state.data() + kHeaderOffset, 0, kHeaderSize);
  std::memcpy(state.data() + kControlOffset, &kInitialControl, sizeof(kInitialControl));
  std::memcpy(state.data() + kMxcsrOffset, &kInitialMxcsr, sizeof(kInitialMxcsr));
  std::memcpy(state.data() + kMxcsrMaskOffset, &mask, sizeof(mask));
}

}  // namespace sandbox::arch
