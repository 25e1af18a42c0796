// The zone's bytes: which are taken, and what stands in them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace sandbox::platform::systrap {

class Zone {
 public:
  // `delta`: start of the zone minus start of the text.
  Zone(int64_t delta, uint64_t size, uint64_t entry);

  // A free place for `size` bytes, as low as possible; none when the zone is full.
  std::optional<uint64_t> Allocate(size_t size);
  // A place such that the jump at `text_offset` to it has an opcode that faults as the second byte of its displacement.
  std::optional<uint64_t> AllocateFaulting(uint64_t text_offset, size_t size);

  // Displacement for an instruction whose end stands at `end` of the text, to `target` of the zone.
  int32_t FromText(uint64_t end, uint64_t target) const;
  // The other way round.
  int32_t ToText(uint64_t end, uint64_t target) const;

  void Write(uint64_t at, std::span<const uint8_t> bytes);
  // The used part.
  std::vector<uint8_t> Take();

 private:
  static constexpr uint64_t kGranule = 8;
  bool IsFree(uint64_t at, size_t size) const;
  uint64_t Claim(uint64_t at, size_t size);

  const int64_t delta_;
  const uint64_t size_;
  std::vector<bool> taken_;         // by granule
  uint64_t first_free_ = 0;         // no granule below is free
  size_t refused_size_ = SIZE_MAX;  // what Allocate found no place for
  std::vector<uint8_t> bytes_;      // up to the end of the highest trampoline
};

}  // namespace sandbox::platform::systrap
