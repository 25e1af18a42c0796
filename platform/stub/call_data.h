// Data that travels with a call of the fast lane, in the memory that the slot shares with the sentry: arguments that
// the stub takes along when it calls (CallInput), and results that it copies to guest memory before it goes on. So
// neither costs the sentry a call to the host, and the bytes go from one processor to the other once.
//
// A copy that meets a bad guest page stops there (StubCopy). An input that is not complete counts as not taken, and the
// sentry finds out by itself; an output that is not makes the call fail with EFAULT, since the sentry had reason to
// believe that the page was good: another thread unmapped it during the call.
#pragma once

#include "platform/stub/guest_access.h"

namespace sandbox::platform::stub {

// What was taken along; the data of the inputs follow, each at a multiple of 16 bytes.
struct InputHeader {
  uint32_t lengths[kMaxCallInputs];
  uint32_t unused[2];
};
static_assert(sizeof(InputHeader) == 16);

inline constexpr uint64_t kInputsStart = kSlotPageSize;
inline constexpr uint32_t kMaxInput = 0x2000;
inline constexpr uint64_t kOutputsStart = kInputsStart + 0x5000;
inline constexpr uint64_t kOutputsSize = kSlotSharedSize - kOutputsStart;
static_assert(kInputsStart + sizeof(InputHeader) + kMaxCallInputs * kMaxInput <= kOutputsStart);

inline constexpr uint64_t AlignInput(uint64_t length) { return (length + 15) & ~uint64_t{15}; }

// Bytes of guest memory that the call wants; 0 when there are too many of them.
STUB_INLINE uint64_t InputLength(const CallInput& input, const uint64_t* args) {
  if (input.kind == CallInput::Kind::kFixed) return input.unit;
  if (input.kind == CallInput::Kind::kCounted) {
    const uint64_t count = args[input.count_argument];
    return count <= kMaxInput / input.unit ? count * input.unit : 0;
  }
  const uint64_t rest = 0x1000 - (args[input.argument] & 0xfff);
  return rest < kStringStep ? rest : kStringStep;
}

// Takes along what the call in `request` reads.
STUB_INLINE void TakeInputs(ThreadPage* page) {
  const Request& request = page->request;
  if (request.nr >= kCallNumbers) return;
  const CallInput* const inputs = reinterpret_cast<const Config*>(kConfigStart)->inputs.inputs[request.nr];
  if (inputs[0].kind == CallInput::Kind::kNone) return;
  const uint64_t start = reinterpret_cast<uint64_t>(page) + kInputsStart;
  auto* const header = reinterpret_cast<InputHeader*>(start);
  uint64_t to = start + sizeof(InputHeader);
  for (uint32_t i = 0; i < kMaxCallInputs; ++i) {
    header->lengths[i] = 0;
    if (inputs[i].kind == CallInput::Kind::kNone) continue;
    const uint64_t from = request.args[inputs[i].argument];
    const uint64_t length = InputLength(inputs[i], request.args);
    if (from == 0 || length == 0 || StubCopy(to, from, length) != 0) continue;
    header->lengths[i] = static_cast<uint32_t>(length);
    to += AlignInput(length);
  }
}

STUB_INLINE void CopyOutputs(ThreadPage* page) {
  const uint32_t count = page->output_count;
  page->output_count = 0;
  for (uint32_t i = 0; i < count && i < kMaxOutputs; ++i) {
    const Output& output = page->outputs[i];
    const uint64_t left = StubCopy(output.address, reinterpret_cast<uint64_t>(page) + output.offset, output.length);
    if (left != 0) page->return_value = -14;  // EFAULT
  }
}

}  // namespace sandbox::platform::stub
