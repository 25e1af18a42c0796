#include "platform/systrap/call_data.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "base/check.h"

namespace sandbox::platform::systrap {

void CallData::Begin(const CallInput* inputs, const std::array<uint64_t, 6>& args) {
  output_count_ = 0;
  used_ = 0;
  inputs_ = nullptr;
  if (inputs == nullptr || inputs->kind == CallInput::Kind::kNone) return;
  inputs_ = inputs;
  args_ = args;
  const auto* header = reinterpret_cast<const stub::InputHeader*>(page_.shared(stub::kInputsStart));
  for (size_t i = 0; i < lengths_.size(); ++i) {
    lengths_[i] = std::min(__atomic_load_n(&header->lengths[i], __ATOMIC_RELAXED), stub::kMaxInput);
  }
}

bool CallData::ReadInput(GuestAddr from, void* to, size_t size) {
  if (inputs_ == nullptr) return false;
  uint64_t at = stub::kInputsStart + sizeof(stub::InputHeader);
  for (size_t i = 0; i < lengths_.size() && inputs_[i].kind != CallInput::Kind::kNone; ++i) {
    const uint64_t offset = from.value() - args_[inputs_[i].argument];
    if (offset < lengths_[i] && size <= lengths_[i] - offset) {
      std::memcpy(to, page_.shared(at + offset), size);
      return true;
    }
    at += stub::AlignInput(lengths_[i]);
  }
  return false;
}

char* CallData::Reserve(size_t size) {
  if (size > kMaxOutput || size > stub::kOutputsSize - used_ || output_count_ == stub::kMaxOutputs) return nullptr;
  return page_.shared(stub::kOutputsStart + used_);
}

void CallData::Commit(GuestAddr to, size_t size) {
  CHECK(output_count_ < stub::kMaxOutputs && size <= stub::kOutputsSize - used_);
  inputs_ = nullptr;  // may have been overwritten
  if (size == 0) return;
  outputs_[output_count_++] = {to.value(), static_cast<uint32_t>(stub::kOutputsStart + used_),
                               static_cast<uint32_t>(size)};
  used_ = std::min(used_ + stub::AlignInput(size), stub::kOutputsSize);
}

void CallData::Post() {
  std::copy_n(outputs_.begin(), output_count_, page_->outputs);
  page_->output_count = std::exchange(output_count_, 0);
  used_ = 0;
}

bool CallData::Write(StubSpace& space) {
  bool complete = true;
  for (const stub::Output& output : std::span(outputs_).first(std::exchange(output_count_, 0))) {
    const auto put = space.Write(GuestAddr(output.address), page_.shared(output.offset), output.length);
    complete &= put.ok() && *put == output.length;
  }
  used_ = 0;
  return complete;
}

}  // namespace sandbox::platform::systrap
