#include "platform/systrap/rewriter/boundary.h"

#include <algorithm>

#include "base/check.h"
#include "platform/api/text_rewriter.h"

namespace sandbox::platform::systrap {
namespace {

constexpr size_t kMaxInstruction = 15;
// How far before the place the starts are, nearest first. The nearest usually suffices.
constexpr size_t kDistances[] = {40, 72, 136, RewriteJob::kContext};
constexpr uint8_t kUnknown = 0xff;
// Starts that must have decoded: with fewer, the stream holds instructions the decoder does not know.
constexpr int kMinWitnesses = 5;

}  // namespace

BoundaryProver::BoundaryProver() {
  CHECK(cs_open(CS_ARCH_X86, CS_MODE_64, &handle_) == CS_ERR_OK);
  instruction_ = cs_malloc(handle_);
  CHECK(instruction_ != nullptr);
}

BoundaryProver::~BoundaryProver() {
  cs_free(instruction_, 1);
  cs_close(&handle_);
}

uint8_t BoundaryProver::LengthAt(std::span<const uint8_t> text, size_t at, size_t window_start) {
  uint8_t& known = lengths_[at - window_start];
  if (known != kUnknown) return known;
  const uint8_t* code = text.data() + at;
  size_t size = std::min(text.size() - at, kMaxInstruction);
  uint64_t address = at;
  known = cs_disasm_iter(handle_, &code, &size, &address, instruction_) ? static_cast<uint8_t>(instruction_->size) : 0;
  return known;
}

BoundaryProver::Verdict BoundaryProver::Decode(std::span<const uint8_t> text, size_t first, size_t place) {
  const size_t window_start = first;
  int witnesses = 0;
  for (size_t start = first; start < first + kMaxInstruction; ++start) {
    size_t at = start;
    uint8_t length = 1;
    while (at < place && (length = LengthAt(text, at, window_start)) != 0) at += length;
    if (length == 0) continue;  // no stream of real instructions
    if (at != place) return Verdict::kUnsure;
    ++witnesses;
  }
  return witnesses >= kMinWitnesses ? Verdict::kYes : Verdict::kNo;
}

bool BoundaryProver::IsBoundary(std::span<const uint8_t> text, size_t place) {
  for (const size_t distance : kDistances) {
    if (place < distance || place >= text.size()) return false;
    lengths_.assign(distance + 1, kUnknown);
    const Verdict verdict = Decode(text, place - distance, place);
    if (verdict != Verdict::kUnsure) return verdict == Verdict::kYes;
  }
  return false;
}

}  // namespace sandbox::platform::systrap
