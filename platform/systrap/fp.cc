// Extended state lives in the signal frame, inside the stub's slot. The frame's address comes from the stub: it is
// only used as an address in that same stub.
#include <cstring>

#include "platform/arch/fpstate.h"
#include "platform/systrap/guest_thread.h"

namespace sandbox::platform::systrap {

Result<std::vector<uint8_t>> GuestThread::GetFpState() {
  TRY(EnsureFrame());
  const uint64_t address = (*page_)->fp_state;
  std::vector<uint8_t> state(arch::kMaxFpStateSize);
  // The state ends at most at the end of the slot; what follows it is cut below.
  const size_t got = TRY(space_->ReadAny(address, state.data(), state.size()));
  state.resize(got);
  state.resize(TRY(arch::FpStateSize(state)));
  return state;
}

Result<void> GuestThread::SetFpState(std::span<const uint8_t> state) {
  TRY(EnsureFrame());
  const uint64_t address = (*page_)->fp_state;
  // What the frame has room for is what is there now.
  const std::vector<uint8_t> current = TRY(GetFpState());
  std::vector<uint8_t> next;
  if (state.empty()) {
    next = current;
    arch::InitFpState(next);
  } else if (state.size() == arch::kFxsaveSize) {
    next = current;
    TRY(arch::SetLegacyState(next, state));
  } else {
    TRY(arch::ValidateFpState(state, current));
    next.assign(state.begin(), state.end());
  }
  if (TRY(space_->WriteAny(address, next.data(), next.size())) != next.size()) return Err(EFAULT);
  return {};
}

}  // namespace sandbox::platform::systrap
