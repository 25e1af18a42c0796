// Proof that an instruction starts at a given byte of a variable-length instruction stream.
#pragma once

#include <capstone/capstone.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sandbox::platform::systrap {

// An x86 instruction has at most 15 bytes, so among any 15 consecutive bytes of code at least one starts an
// instruction. Decoding from each of 15 bytes some way before a place therefore follows the real stream at least once.
// When every start that decodes without an error has a boundary at the place, the real stream has one too. Wrong
// streams fall in with the real one after a few instructions, so code is rarely refused; a disagreement is retried from
// further back.
class BoundaryProver {
 public:
  BoundaryProver();
  ~BoundaryProver();
  BoundaryProver(const BoundaryProver&) = delete;
  BoundaryProver& operator=(const BoundaryProver&) = delete;

  // Whether an instruction of the code in `text` starts at `place`. False when that is not certain.
  bool IsBoundary(std::span<const uint8_t> text, size_t place);

 private:
  enum class Verdict { kYes, kNo, kUnsure };
  Verdict Decode(std::span<const uint8_t> text, size_t first, size_t place);
  // Length of the instruction at `at`; 0 when it is none. Remembered for the place at hand.
  uint8_t LengthAt(std::span<const uint8_t> text, size_t at, size_t window_start);

  csh handle_ = 0;
  cs_insn* instruction_ = nullptr;
  std::vector<uint8_t> lengths_;  // kUnknown, or what LengthAt returned, by distance from the window's start
};

}  // namespace sandbox::platform::systrap
